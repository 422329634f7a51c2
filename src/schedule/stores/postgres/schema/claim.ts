/** Claiming what is due, giving back or ending what was lost, and who may claim what. */
import { ENTRY, READER } from "./moves.ts";

/** What a claim may end, hold or pass over beside what it claims, so that one pass stays short. */
const PASS = 1_000;
/** An owner that was not heard of for so long serves no queue any more. It claims and sweeps each second. */
export const SILENT_MS = 10_000;
/** It is written down that it lives once in this time. */
const HEARD_MS = 2_000;

export const claim = (s: string): string[] => [
  // The owner's number. It is alive; whether it serves queues, it has said by enlist.
  `CREATE FUNCTION ${s}.touch(of_ns integer, of_name text, now bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     o ${s}.owners;
   BEGIN
     SELECT * INTO o FROM ${s}.owners WHERE ns = of_ns AND name = of_name;
     IF NOT FOUND THEN
       INSERT INTO ${s}.owners (ns, name, announced, seen) VALUES (of_ns, of_name, false, now)
       ON CONFLICT (ns, name) DO UPDATE SET seen = excluded.seen RETURNING * INTO o;
     ELSIF o.seen NOT BETWEEN now - ${HEARD_MS} AND now THEN
       UPDATE ${s}.owners SET seen = now WHERE n = o.n;
     END IF;
     RETURN o.n;
   END $$`,

  /*
   * The queues with something in them that the owner may claim from: its own, and those that no live owner serves. Each queue is found
   * by one step along the index, whatever waits in it. Who cannot send on has its own alone.
   */
  `CREATE FUNCTION ${s}.queues_of(of_ns integer, p jsonb, now bigint) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
   DECLARE
     own text[] := ARRAY(SELECT jsonb_array_elements_text(p->'queues'));
     v_served text[];
     v_queues text[] := own;
     v_queue text;
   BEGIN
     IF NOT coalesce((p->>'sendsOn')::boolean, true) THEN RETURN own; END IF;
     PERFORM FROM ${s}.owners WHERE ns = of_ns AND announced AND NOT resigned AND seen > now - ${SILENT_MS} AND queues IS NULL LIMIT 1;
     IF FOUND THEN RETURN own; END IF;
     SELECT array_agg(q) INTO v_served FROM ${s}.owners o, unnest(o.queues) q
     WHERE o.ns = of_ns AND o.announced AND NOT o.resigned AND o.seen > now - ${SILENT_MS};
     SELECT queue INTO v_queue FROM ${s}.callbacks WHERE ns = of_ns AND state < 2 ORDER BY queue LIMIT 1;
     WHILE v_queue IS NOT NULL LOOP
       IF v_queue <> ALL (own) AND (v_served IS NULL OR v_queue <> ALL (v_served)) THEN v_queues := v_queues || v_queue; END IF;
       SELECT (SELECT queue FROM ${s}.callbacks WHERE ns = of_ns AND state < 2 AND queue > v_queue ORDER BY queue LIMIT 1) INTO v_queue;
     END LOOP;
     RETURN v_queues;
   END $$`,

  `CREATE FUNCTION ${s}.first_of_queue(of_ns integer, of_queue text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     RETURN (SELECT due FROM ${s}.callbacks WHERE ns = of_ns AND queue = of_queue AND state < 2 ORDER BY due LIMIT 1);
   END $$`,

  // The earliest due time, of these queues; null: of all.
  `CREATE FUNCTION ${s}.first_due(of_ns integer, queues text[]) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
   BEGIN
     IF queues IS NULL THEN
       RETURN (SELECT due FROM ${s}.callbacks WHERE ns = of_ns AND state <= 1 ORDER BY due LIMIT 1);
     END IF;
     IF cardinality(queues) = 1 THEN RETURN ${s}.first_of_queue(of_ns, queues[1]); END IF;
     RETURN (SELECT min((SELECT c.due FROM ${s}.callbacks c WHERE c.ns = of_ns AND c.queue = q AND c.state < 2 ORDER BY c.due LIMIT 1))
       FROM unnest(queues) q);
   END $$`,

  // {ns, now?, owner?, queues?, sendsOn?} -> [due or null, now]
  `CREATE FUNCTION ${s}.upcoming(p jsonb) RETURNS json ${READER} AS $$
   DECLARE
     v_ns integer := (p->>'ns')::integer;
     v_now bigint := ${s}.now_ms(p);
     v_own text[];
   BEGIN
     IF jsonb_typeof(p->'queues') = 'array' THEN
       v_own := ${s}.queues_of(v_ns, p, v_now);
     END IF;
     RETURN json_build_array(${s}.first_due(v_ns, v_own), v_now);
   END $$`,

  // Up to so many that are due, locked: what another claimer is at is passed over.
  `CREATE FUNCTION ${s}.take_due(of_ns integer, queues text[], now bigint, want integer) RETURNS SETOF ${s}.callbacks
   LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     IF queues IS NULL THEN
       RETURN QUERY SELECT c.* FROM ${s}.callbacks c WHERE c.ns = of_ns AND c.state <= 1 AND c.due <= now
         ORDER BY c.due, c.n LIMIT want FOR UPDATE SKIP LOCKED;
     ELSIF cardinality(queues) = 1 THEN
       RETURN QUERY SELECT c.* FROM ${s}.callbacks c WHERE c.ns = of_ns AND c.queue = queues[1] AND c.state < 2 AND c.due <= now
         ORDER BY c.due, c.n LIMIT want FOR UPDATE SKIP LOCKED;
     ELSE
       RETURN QUERY SELECT c.* FROM unnest(queues) q CROSS JOIN LATERAL (
         SELECT d.* FROM ${s}.callbacks d WHERE d.ns = of_ns AND d.queue = q AND d.state < 2 AND d.due <= now
         ORDER BY d.due, d.n LIMIT want FOR UPDATE SKIP LOCKED) c
       ORDER BY c.due, c.n LIMIT want;
     END IF;
   END $$`,

  /*
   * {ns, now?, by, owner, queues?, limit, lease, crashLimit, lostLimit, keep, keepKeyed} ->
   * {claims: rows, ended: rows, upcoming: [due, now]}
   *
   * Of a recurrence, one claim at a time: its row is locked, so that of two workers with an occurrence each the second sees the first's
   * claim. A recurrence that somebody else is at is left for the next look, never waited for: its holder may wait for our rows.
   */
  `CREATE FUNCTION ${s}.claim(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     v_ns integer := (p->>'ns')::integer;
     v_now bigint := ${s}.now_ms(p);
     v_by bigint := (p->>'by')::bigint;
     v_limit integer := (p->>'limit')::integer;
     v_lease bigint := v_now + (p->>'lease')::bigint;
     v_keep bigint := (p->>'keep')::bigint;
     v_keep_keyed bigint := (p->>'keepKeyed')::bigint;
     v_queues text[];
     v_owner bigint := ${s}.touch(v_ns, p->>'owner', v_now);
     v_claimed bigint[] := '{}';
     v_ended json[];
     v_freed bigint[] := '{}';
     v_left bigint[] := '{}';
     v_passed integer := 0;
     v_seen integer;
     v_want integer;
     v_claims json;
     d integer[] := ${s}.none();
     c ${s}.callbacks;
     fate record;
     overlapped record;
   BEGIN
     IF v_limit > 0 THEN v_ended := ${s}.recover_expired(p, v_ns, v_now, ${PASS}, v_by); END IF;
     -- After that: what was given back may be the only one of its queue.
     IF jsonb_typeof(p->'queues') = 'array' THEN
       v_queues := ${s}.queues_of(v_ns, p, v_now);
     END IF;
     IF v_limit > 0 THEN
       v_want := v_limit;
       WHILE cardinality(v_claimed) < v_limit AND v_passed < ${PASS} LOOP
         v_seen := 0;
         v_want := v_want + cardinality(v_left);
         FOR c IN SELECT * FROM ${s}.take_due(v_ns, v_queues, v_now, v_want) LOOP
           EXIT WHEN cardinality(v_claimed) >= v_limit OR v_passed >= ${PASS};
           v_seen := v_seen + 1;
           CONTINUE WHEN c.n = ANY (v_left);
           fate := ${s}.fate_when_due(c.attempts, c.due, c.expires, c.flags, c.grace, c.nominal, v_now);
           IF fate.state IS NOT NULL THEN
             SELECT * INTO d, v_freed FROM ${s}.meet(c, fate.state, fate.reason, NULL, v_now, v_keep, v_keep_keyed, v_by, d, v_freed);
             v_ended := v_ended || ${s}.row_at(c.n);
             v_passed := v_passed + 1;
             CONTINUE;
           END IF;
           IF c.recurrence IS NOT NULL THEN
             PERFORM FROM ${s}.recurrences r WHERE r.n = c.recurrence FOR UPDATE SKIP LOCKED;
             IF NOT FOUND AND EXISTS (SELECT FROM ${s}.recurrences r WHERE r.n = c.recurrence) THEN
               v_left := v_left || c.n;
               v_passed := v_passed + 1;
               CONTINUE;
             END IF;
             IF c.state = 0 AND c.overlap > 0 AND EXISTS (
               SELECT FROM ${s}.callbacks o WHERE o.recurrence = c.recurrence AND o.state IN (1, 2))
             THEN
               overlapped := ${s}.fate_of_overlap(c.overlap, c.due, c.flags, c.grace, c.nominal, v_now);
               v_passed := v_passed + 1;
               IF overlapped.state IS NULL THEN
                 UPDATE ${s}.callbacks SET held = true, due = overlapped.held_due, grace = overlapped.held_grace WHERE n = c.n;
                 IF c.tags IS NOT NULL AND overlapped.held_due <> c.due THEN
                   PERFORM ${s}.remove_tags(v_ns, c.n, c.due, c.tags);
                   PERFORM ${s}.add_tags(v_ns, c.n, overlapped.held_due, c.tags);
                 END IF;
               ELSE
                 SELECT * INTO d, v_freed
                 FROM ${s}.meet(c, overlapped.state, overlapped.reason, NULL, v_now, v_keep, v_keep_keyed, v_by, d, v_freed);
                 v_ended := v_ended || ${s}.row_at(c.n);
               END IF;
               CONTINUE;
             END IF;
             UPDATE ${s}.recurrences SET started = true WHERE n = c.recurrence AND NOT started;
             -- Now, not with the others at the end: the next occurrence of it must see this one running.
             UPDATE ${s}.callbacks SET state = 2, token = token + 1, attempts = attempts + 1, abort = 0, held = false,
               claimed = v_now, lease = v_lease, owner = v_owner WHERE n = c.n;
           END IF;
           d[c.state + 1] := d[c.state + 1] - 1;
           d[3] := d[3] + 1;
           v_claimed := v_claimed || c.n;
         END LOOP;
         UPDATE ${s}.callbacks SET state = 2, token = token + 1, attempts = attempts + 1, abort = 0,
           claimed = v_now, lease = v_lease, owner = v_owner
         WHERE n = ANY (v_claimed) AND state + 0 <= 1;
         EXIT WHEN v_seen < v_want;
         v_want := least(v_limit - cardinality(v_claimed) + 100, 1000);
       END LOOP;
       IF cardinality(v_claimed) > 0 THEN UPDATE ${s}.owners SET resigned = false WHERE n = v_owner AND resigned; END IF;
       PERFORM ${s}.count(v_ns, d);
       PERFORM ${s}.pass_turns(v_freed, v_by);
       IF random() < 0.02 THEN PERFORM ${s}.fold(v_ns); END IF;
     END IF;
     SELECT json_agg(${s}.row_of(x) ORDER BY u.at) INTO v_claims
     FROM unnest(v_claimed) WITH ORDINALITY u(n, at) JOIN ${s}.callbacks x ON x.n = u.n;
     RETURN json_build_object('claims', coalesce(v_claims, '[]'), 'ended', coalesce(to_json(v_ended), '[]'),
       'upcoming', json_build_array(${s}.first_due(v_ns, v_queues), v_now));
   END $$`,

  // Give back or end one that is lost; the row as it stands then.
  `CREATE FUNCTION ${s}.recover(
     c ${s}.callbacks, p jsonb, now bigint, by bigint, INOUT d integer[], INOUT freed bigint[], OUT tuple json
   ) LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     fate record;
   BEGIN
     UPDATE ${s}.callbacks SET losses = losses + 1 WHERE n = c.n;
     fate := ${s}.fate_of_loss(c.flags & 2 = 2, c.losses + 1, ${s}.is_unwanted(c, now), (p->>'lostLimit')::integer,
       'its worker died or stalled past its lease');
     SELECT * INTO d, freed
     FROM ${s}.meet(c, fate.state, fate.reason, now, now, (p->>'keep')::bigint, (p->>'keepKeyed')::bigint, by, d, freed);
     tuple := ${s}.row_at(c.n);
   END $$`,

  // Those whose lease has run out, as they stand then.
  `CREATE FUNCTION ${s}.recover_expired(p jsonb, of_ns integer, now bigint, most integer, by bigint) RETURNS json[]
   LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     c ${s}.callbacks;
     d integer[] := ${s}.none();
     v_done json[];
     v_freed bigint[] := '{}';
     v_tuple json;
   BEGIN
     FOR c IN SELECT x.* FROM ${s}.callbacks x WHERE x.ns = of_ns AND x.state = 2 AND x.lease <= now
       ORDER BY x.lease, x.n LIMIT most FOR UPDATE SKIP LOCKED
     LOOP
       SELECT * INTO d, v_freed, v_tuple FROM ${s}.recover(c, p, now, by, d, v_freed);
       v_done := v_done || v_tuple;
     END LOOP;
     IF v_done IS NOT NULL THEN
       PERFORM ${s}.count(of_ns, d);
       PERFORM ${s}.pass_turns(v_freed, by);
     END IF;
     RETURN v_done;
   END $$`,
];
