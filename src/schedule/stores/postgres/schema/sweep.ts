/** What is done each second in small steps: recover what was lost, remove what is past retention. And who lives. */
import { SILENT_MS } from "./claim.ts";
import { ENTRY, READER } from "./moves.ts";

/** An owner that resigned, or was not heard of for so long, and holds nothing, is forgotten. */
const FORGOTTEN_MS = 60_000;

export const sweep = (s: string): string[] => [
  /*
   * {ns, now?, by, owner, queues?, limit, lostLimit, keep, keepKeyed} -> {ended: rows, more, owners: how many share the work}
   * What another sweeper is at is passed over, so each is given back once, and nobody waits.
   */
  `CREATE FUNCTION ${s}.sweep(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     v_ns integer := (p->>'ns')::integer;
     v_now bigint := ${s}.now_ms(p);
     v_by bigint := (p->>'by')::bigint;
     v_limit integer := (p->>'limit')::integer;
     v_ended json[];
     v_tuple json;
     v_freed bigint[] := '{}';
     v_removed integer := 0;
     v_forgotten integer;
     v_queues text[];
     d integer[] := ${s}.none();
     c ${s}.callbacks;
   BEGIN
     UPDATE ${s}.owners SET seen = v_now
     WHERE ns = v_ns AND name = p->>'owner' AND NOT resigned AND seen NOT BETWEEN v_now - 2000 AND v_now;
     v_ended := coalesce(${s}.recover_expired(p, v_ns, v_now, v_limit, v_by), '{}');
     IF cardinality(v_ended) < v_limit THEN
       FOR c IN SELECT x.* FROM ${s}.callbacks x
         WHERE x.state = 2 AND x.owner = ANY (ARRAY(SELECT o.n FROM ${s}.owners o WHERE o.ns = v_ns AND o.resigned))
         ORDER BY x.lease, x.n LIMIT v_limit - cardinality(v_ended) FOR UPDATE SKIP LOCKED
       LOOP
         SELECT * INTO d, v_freed, v_tuple FROM ${s}.recover(c, p, v_now, v_by, d, v_freed);
         v_ended := v_ended || v_tuple;
       END LOOP;
     END IF;

     FOR c IN DELETE FROM ${s}.callbacks x WHERE x.n = ANY (ARRAY(
         SELECT y.n FROM ${s}.callbacks y WHERE y.ns = v_ns AND y.forget <= v_now ORDER BY y.forget LIMIT v_limit FOR UPDATE SKIP LOCKED))
       RETURNING x.*
     LOOP
       v_removed := v_removed + 1;
       d[c.state + 1] := d[c.state + 1] - 1;
       IF c.tags IS NOT NULL THEN PERFORM ${s}.remove_tags(v_ns, c.n, c.due, c.tags); END IF;
     END LOOP;
     DELETE FROM ${s}.recurrences x WHERE x.n = ANY (ARRAY(
       SELECT y.n FROM ${s}.recurrences y WHERE y.ns = v_ns AND y.forget <= v_now ORDER BY y.forget LIMIT v_limit FOR UPDATE SKIP LOCKED));
     GET DIAGNOSTICS v_forgotten = ROW_COUNT;
     DELETE FROM ${s}.tombstones x WHERE x.ns = v_ns AND x.task_id = ANY (ARRAY(
       SELECT y.task_id FROM ${s}.tombstones y WHERE y.ns = v_ns AND y.until <= v_now ORDER BY y.until LIMIT v_limit FOR UPDATE SKIP LOCKED))
       AND x.until <= v_now;
     DELETE FROM ${s}.owners o WHERE o.ns = v_ns AND (o.resigned OR o.seen < v_now - ${FORGOTTEN_MS})
       AND NOT EXISTS (SELECT FROM ${s}.callbacks x WHERE x.owner = o.n AND x.state = 2);
     PERFORM ${s}.count(v_ns, d);
     PERFORM ${s}.pass_turns(v_freed, v_by);
     PERFORM ${s}.fold(v_ns);
     IF jsonb_typeof(p->'queues') = 'array' THEN v_queues := ARRAY(SELECT jsonb_array_elements_text(p->'queues')); END IF;
     RETURN json_build_object('ended', to_json(v_ended),
       'owners', (SELECT count(*) FROM ${s}.owners o WHERE o.ns = v_ns AND o.announced AND NOT o.resigned AND o.seen > v_now - ${SILENT_MS}
         AND (v_queues IS NULL OR o.queues IS NULL OR o.queues && v_queues)),
       'more', cardinality(v_ended) >= v_limit OR v_removed >= v_limit OR v_forgotten >= v_limit);
   END $$`,

  // {ns, now?, owner, queues?}: it lives, and serves these; without queues: every one.
  `CREATE FUNCTION ${s}.enlist(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     v_queues text[];
   BEGIN
     IF jsonb_typeof(p->'queues') = 'array' THEN v_queues := ARRAY(SELECT jsonb_array_elements_text(p->'queues')); END IF;
     INSERT INTO ${s}.owners (ns, name, queues, announced, seen) VALUES ((p->>'ns')::integer, p->>'owner', v_queues, true, ${s}.now_ms(p))
     ON CONFLICT (ns, name) DO UPDATE SET queues = excluded.queues, announced = true, resigned = false, seen = excluded.seen;
     RETURN 'null';
   END $$`,

  // {ns, now?, owner}: it claims no more, also if nobody has heard of it.
  `CREATE FUNCTION ${s}.resign(p jsonb) RETURNS json ${ENTRY} AS $$
   BEGIN
     UPDATE ${s}.owners SET announced = false, resigned = true WHERE ns = (p->>'ns')::integer AND name = p->>'owner';
     RETURN 'null';
   END $$`,

  // {ns} -> how many rows are in each state, in the order of their numbers.
  `CREATE FUNCTION ${s}.counts(p jsonb) RETURNS json ${READER} AS $$
   BEGIN
     RETURN (SELECT json_build_array(sum(scheduled), sum(waiting), sum(running), sum(succeeded), sum(failed), sum(dead), sum(cancelled),
       sum(stopped), sum(expired), sum(skipped)) FROM ${s}.deltas WHERE ns = (p->>'ns')::integer);
   END $$`,
];
