/**
 * What recurs: `recurrence-rules.ts`, where the rows are. Every change locks the recurrence's row first, and its occurrences after it; a
 * claim, which has the occurrence first, never waits for the recurrence.
 */
import { inLiteral } from "../names.ts";
import { ENTRY, READER } from "./moves.ts";

/** OccurrenceItem of recurrence-rows.ts. */
const OCCURRENCE = `i integer, s bigint, d bigint, f smallint, r bigint, x bigint, o bigint`;

export const recurrences = (s: string): string[] => [
  // A recurrence as it travels: the order is that of RecurrenceTuple.
  `CREATE FUNCTION ${s}.recurrence_of(r ${s}.recurrences, OUT tuple json) LANGUAGE sql STABLE AS $$
     SELECT json_build_array(r.n, r.salt, r.state, r.generation, r.next, r.started, r.created, r.ended, coalesce(r.whole_key, r.key),
       r.definition)
   $$`,

  // By n and salt; or by key: the one that has not ended, else the last that had it.
  `CREATE FUNCTION ${s}.find_recurrence(of_ns integer, p jsonb) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     found_n bigint;
   BEGIN
     IF p->>'k' IS NULL THEN
       SELECT n INTO found_n FROM ${s}.recurrences WHERE n = (p->>'n')::bigint AND salt = (p->>'s')::bigint AND ns = of_ns;
       RETURN found_n;
     END IF;
     SELECT n INTO found_n FROM ${s}.recurrences WHERE ns = of_ns AND key = p->>'k' AND state <= 1;
     IF FOUND THEN RETURN found_n; END IF;
     SELECT n INTO found_n FROM ${s}.recurrences WHERE ns = of_ns AND key = p->>'k' AND state = 2 ORDER BY n DESC LIMIT 1;
     RETURN found_n;
   END $$`,

  `CREATE FUNCTION ${s}.lock_recurrence(of_ns integer, p jsonb) RETURNS ${s}.recurrences LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     r ${s}.recurrences;
     found_n bigint;
   BEGIN
     LOOP
       found_n := ${s}.find_recurrence(of_ns, p);
       IF found_n IS NULL THEN RETURN NULL; END IF;
       SELECT * INTO r FROM ${s}.recurrences x WHERE x.n = found_n FOR UPDATE;
       IF FOUND AND (p->>'k' IS NULL OR r.state <= 1 OR ${s}.find_recurrence(of_ns, p) = found_n) THEN RETURN r; END IF;
     END LOOP;
   END $$`,

  /*
   * Be active, with the plan's occurrences; or ended, when there is no further one. p.plan: {next, occurrences: [OccurrenceItem]};
   * what they have in common is r.call: {f, q, g, w, e, m, b, l, o: overlap}.
   */
  `CREATE FUNCTION ${s}.follow(r ${s}.recurrences, p jsonb, now bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     v_call jsonb := r.call::jsonb;
     v_tags text[] := CASE WHEN jsonb_typeof(v_call->'g') = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(v_call->'g')) END;
     v_added integer := 0;
     v_first bigint;
     v_before bigint := ${s}.first_of_queue(r.ns, v_call->>'q');
     i record;
   BEGIN
     FOR i IN
       INSERT INTO ${s}.callbacks (n, salt, ns, due, created, flags, grace, retries, expires, queue, task, tags, more, long, body,
         recurrence, recurrence_salt, generation, nominal, overlap)
       SELECT nextval('${inLiteral(s)}.callback_n'), x.s, r.ns, x.d, now, x.f | (v_call->>'f')::smallint, x.r, (v_call->>'e')::bigint, x.x, v_call->>'q', v_call->>'w', v_tags,
         v_call->>'m', v_call->>'l', v_call->>'b', r.n, r.salt, r.generation, x.o, (v_call->>'o')::smallint
       FROM (SELECT * FROM jsonb_to_recordset(p->'plan'->'occurrences') AS y(${OCCURRENCE}) ORDER BY y.i) x
       ON CONFLICT DO NOTHING RETURNING n, due
     LOOP
       v_added := v_added + 1;
       v_first := least(v_first, i.due);
       IF v_tags IS NOT NULL THEN PERFORM ${s}.add_tags(r.ns, i.n, i.due, v_tags); END IF;
     END LOOP;
     IF v_added > 0 THEN
       PERFORM ${s}.count(r.ns, ARRAY[v_added, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
       IF v_before IS NULL OR v_first < v_before THEN PERFORM ${s}.hint(r.ns, v_first, v_call->>'q', (p->>'by')::bigint); END IF;
     END IF;
     IF p->'plan'->>'next' IS NULL THEN PERFORM ${s}.end_recurrence(r.n, p, now);
     ELSE UPDATE ${s}.recurrences SET state = 0, next = (p->'plan'->>'next')::bigint WHERE n = r.n;
     END IF;
   END $$`,

  `CREATE FUNCTION ${s}.end_recurrence(at bigint, p jsonb, now bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     UPDATE ${s}.recurrences SET state = 2, next = NULL, ended = now,
       forget = now + CASE WHEN key IS NULL THEN (p->>'keep')::bigint ELSE (p->>'keepKeyed')::bigint END
     WHERE n = at;
   END $$`,

  // Its occurrences that are in these states, in one order, locked.
  `CREATE FUNCTION ${s}.lock_occurrences(of_recurrence bigint, up_to smallint) RETURNS SETOF ${s}.callbacks LANGUAGE sql VOLATILE AS $$
     SELECT x.* FROM ${s}.callbacks x WHERE x.recurrence = of_recurrence AND x.state <= 2 AND x.state <= up_to ORDER BY x.n FOR UPDATE
   $$`,

  `CREATE FUNCTION ${s}.cancel_unstarted(r ${s}.recurrences, why text, now bigint, p jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     c ${s}.callbacks;
     d integer[] := ${s}.none();
     v_freed bigint[] := '{}';
   BEGIN
     FOR c IN SELECT * FROM ${s}.lock_occurrences(r.n, 0::smallint) LOOP
       SELECT * INTO d, v_freed FROM ${s}.cancel_row(c, false, why, now, p, d, v_freed);
     END LOOP;
     PERFORM ${s}.count(r.ns, d);
   END $$`,

  /*
   * {ns, now?, by, max, keep, keepKeyed, k, whole, conflict, salt, fingerprint, definition, plan, call, why}
   * -> [0 added | 1 existing | 2 replaced | 3 conflict, n, salt, generation, next], or null: the limit is reached.
   */
  `CREATE FUNCTION ${s}.put_recurrence(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     v_ns integer := (p->>'ns')::integer;
     v_now bigint := ${s}.now_ms(p);
     v_put integer := 0;
     v_max bigint := (p->>'max')::bigint;
     r ${s}.recurrences;
   BEGIN
     LOOP
       IF p->>'k' IS NOT NULL THEN
         SELECT * INTO r FROM ${s}.recurrences x WHERE x.ns = v_ns AND x.key = p->>'k' AND x.state <= 1 FOR UPDATE;
         IF FOUND THEN
           IF r.fingerprint = p->>'fingerprint' OR p->>'conflict' = 'keep' THEN v_put := 1;
           ELSIF p->>'conflict' = 'reject' THEN v_put := 3;
           ELSE v_put := 2;
           END IF;
           EXIT;
         END IF;
       END IF;
       IF v_max > 0 AND ${s}.live_count(v_ns) + jsonb_array_length(p->'plan'->'occurrences') > v_max THEN RETURN 'null'; END IF;
       INSERT INTO ${s}.recurrences (salt, ns, state, generation, created, key, whole_key, fingerprint, definition, call)
       VALUES ((p->>'salt')::bigint, v_ns, 0, 1, v_now, p->>'k', p->>'whole', p->>'fingerprint', p->>'definition', p->>'call')
       ON CONFLICT DO NOTHING RETURNING * INTO r;
       EXIT WHEN FOUND;
     END LOOP;
     v_now := ${s}.now_ms(p);
     IF v_put = 2 THEN
       PERFORM ${s}.cancel_unstarted(r, p->>'why', v_now, p);
       UPDATE ${s}.recurrences SET generation = generation + 1, fingerprint = p->>'fingerprint', definition = p->>'definition', call = p->>'call'
       WHERE n = r.n RETURNING * INTO r;
     END IF;
     IF v_put IN (0, 2) THEN
       PERFORM ${s}.follow(r, p, v_now);
       SELECT * INTO r FROM ${s}.recurrences x WHERE x.n = r.n;
     END IF;
     RETURN json_build_array(v_put, r.n, r.salt, r.generation, r.next);
   END $$`,

  // {ns, n, s | k} -> the row, or null.
  `CREATE FUNCTION ${s}.get_recurrence(p jsonb) RETURNS json ${READER} AS $$
   DECLARE
     v_n bigint := ${s}.find_recurrence((p->>'ns')::integer, p);
   BEGIN
     RETURN coalesce((SELECT ${s}.recurrence_of(r) FROM ${s}.recurrences r WHERE r.n = v_n), 'null');
   END $$`,

  // {ns, after, states, limit} -> rows, in the order they were added.
  `CREATE FUNCTION ${s}.list_recurrences(p jsonb) RETURNS json ${READER} AS $$
   BEGIN
     RETURN (SELECT coalesce(json_agg(${s}.recurrence_of(r) ORDER BY r.n), '[]') FROM (
       SELECT * FROM ${s}.recurrences x
       WHERE x.ns = (p->>'ns')::integer AND x.n > (p->>'after')::bigint
         AND x.state = ANY (ARRAY(SELECT jsonb_array_elements_text(p->'states')::smallint))
       ORDER BY x.n LIMIT (p->>'limit')::integer) r);
   END $$`,

  // {ns, now?, limit} -> active ones whose time has come, earliest first.
  `CREATE FUNCTION ${s}.due_recurrences(p jsonb) RETURNS json ${READER} AS $$
   BEGIN
     RETURN (SELECT coalesce(json_agg(${s}.recurrence_of(r) ORDER BY r.next, r.n), '[]') FROM (
       SELECT * FROM ${s}.recurrences x WHERE x.ns = (p->>'ns')::integer AND x.next <= ${s}.now_ms(p)
       ORDER BY x.next, x.n LIMIT (p->>'limit')::integer) r);
   END $$`,

  /*
   * {ns, now?, by, keep, keepKeyed, n, s, generation, next, plan} -> [word, n, salt], or null: there is none. Of any number that try, the
   * first finds the recurrence as its plan was worked out from.
   */
  `CREATE FUNCTION ${s}.advance(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     r ${s}.recurrences := ${s}.lock_recurrence((p->>'ns')::integer, p);
     v_word text := 'changed';
   BEGIN
     IF r.n IS NULL THEN RETURN 'null'; END IF;
     IF r.state = 2 THEN v_word := 'ended';
     ELSIF r.generation <> (p->>'generation')::bigint OR r.next IS DISTINCT FROM (p->>'next')::bigint THEN v_word := 'stale';
     ELSE PERFORM ${s}.follow(r, p, ${s}.now_ms(p));
     END IF;
     RETURN json_build_array(v_word, r.n, r.salt);
   END $$`,

  // {ns, now?, by, keep, keepKeyed, n, s | k, why} -> [word, n, salt], or null.
  `CREATE FUNCTION ${s}.pause(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     r ${s}.recurrences := ${s}.lock_recurrence((p->>'ns')::integer, p);
     v_word text := 'changed';
   BEGIN
     IF r.n IS NULL THEN RETURN 'null'; END IF;
     IF r.state = 2 THEN v_word := 'ended';
     ELSIF r.state = 1 THEN v_word := 'unchanged';
     ELSE
       PERFORM ${s}.cancel_unstarted(r, p->>'why', ${s}.now_ms(p), p);
       UPDATE ${s}.recurrences SET state = 1, next = NULL WHERE n = r.n;
     END IF;
     RETURN json_build_array(v_word, r.n, r.salt);
   END $$`,

  // {ns, now?, by, keep, keepKeyed, n, s | k, generation, plan} -> [word, n, salt], or null.
  `CREATE FUNCTION ${s}.resume(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     r ${s}.recurrences := ${s}.lock_recurrence((p->>'ns')::integer, p);
     v_word text := 'changed';
     v_salt bigint := r.salt;
   BEGIN
     IF r.n IS NULL THEN RETURN 'null'; END IF;
     IF r.state = 2 THEN v_word := 'ended';
     ELSIF r.state = 0 THEN v_word := 'unchanged';
     ELSIF r.generation <> (p->>'generation')::bigint THEN v_word := 'stale';
     ELSE
       UPDATE ${s}.recurrences SET generation = generation + 1 WHERE n = r.n RETURNING * INTO r;
       PERFORM ${s}.follow(r, p, ${s}.now_ms(p));
     END IF;
     RETURN json_build_array(v_word, r.n, v_salt);
   END $$`,

  // {ns, now?, by, keep, keepKeyed, n, s | k, abort, why} -> [n, salt, state, started, running] as it was found, or null.
  `CREATE FUNCTION ${s}.cancel_recurrence(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     r ${s}.recurrences := ${s}.lock_recurrence((p->>'ns')::integer, p);
     v_now bigint := ${s}.now_ms(p);
     v_running boolean := false;
     v_freed bigint[] := '{}';
     d integer[] := ${s}.none();
     c ${s}.callbacks;
   BEGIN
     IF r.n IS NULL THEN RETURN 'null'; END IF;
     FOR c IN SELECT * FROM ${s}.lock_occurrences(r.n, 2::smallint) LOOP
       IF c.state = 2 THEN
         v_running := true;
         -- Nobody asks it to stop, but it does not run again.
         IF c.abort = 0 THEN UPDATE ${s}.callbacks SET abort = 3 WHERE n = c.n RETURNING * INTO c; END IF;
       END IF;
       SELECT * INTO d, v_freed FROM ${s}.cancel_row(c, (p->>'abort')::boolean, p->>'why', v_now, p, d, v_freed);
     END LOOP;
     PERFORM ${s}.count(r.ns, d);
     PERFORM ${s}.pass_turns(v_freed, (p->>'by')::bigint);
     IF r.state <> 2 THEN PERFORM ${s}.end_recurrence(r.n, p, v_now); END IF;
     RETURN json_build_array(r.n, r.salt, r.state, r.started, v_running);
   END $$`,
];
