/** Finding a callback, taking it back, moving, revoking. A cancel waits for the row: it answers what is, not what was. */
import { ENTRY, READER } from "./moves.ts";

/** Which one: by n and salt, or by its key. TargetItem of rows.ts. */
const TARGET = "i integer, n bigint, s bigint, k text";

export const cancel = (s: string): string[] => [
  // The row of this id; or the live one that has the key, else the last that had it.
  `CREATE FUNCTION ${s}.find(of_ns integer, of_n bigint, of_salt bigint, of_key text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     found_n bigint;
   BEGIN
     IF of_key IS NULL THEN
       SELECT n INTO found_n FROM ${s}.callbacks WHERE n = of_n AND salt = of_salt AND ns + 0 = of_ns;
       RETURN found_n;
     END IF;
     SELECT n INTO found_n FROM ${s}.callbacks WHERE ns = of_ns AND key = of_key AND state <= 2;
     IF FOUND THEN RETURN found_n; END IF;
     SELECT n INTO found_n FROM ${s}.callbacks WHERE ns = of_ns AND key = of_key AND state > 2 ORDER BY n DESC LIMIT 1;
     RETURN found_n;
   END $$`,

  // The same, locked: it is still the one when the lock is ours.
  `CREATE FUNCTION ${s}.find_locked(of_ns integer, of_n bigint, of_salt bigint, of_key text) RETURNS ${s}.callbacks
   LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     c ${s}.callbacks;
     found_n bigint;
   BEGIN
     LOOP
       found_n := ${s}.find(of_ns, of_n, of_salt, of_key);
       IF found_n IS NULL THEN RETURN NULL; END IF;
       SELECT * INTO c FROM ${s}.callbacks x WHERE x.n = found_n FOR UPDATE;
       -- Ended or removed while we waited: the key may be another's now.
       IF FOUND AND (of_key IS NULL OR c.state <= 2 OR ${s}.find(of_ns, of_n, of_salt, of_key) = found_n) THEN RETURN c; END IF;
     END LOOP;
   END $$`,

  // What cancel does to a locked row, in whatever state it is.
  `CREATE FUNCTION ${s}.cancel_row(
     c ${s}.callbacks, abort_it boolean, why text, now bigint, p jsonb, INOUT d integer[], INOUT freed bigint[]
   ) LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     IF c.state <= 1 THEN
       SELECT * INTO d, freed FROM ${s}.meet(c, CASE c.state WHEN 0 THEN 6 ELSE 7 END::smallint,
         coalesce(why, CASE c.state WHEN 1 THEN 'it was cancelled before it ran again' END), NULL, now,
         (p->>'keep')::bigint, (p->>'keepKeyed')::bigint, (p->>'by')::bigint, d, freed);
     ELSIF c.state = 2 AND abort_it AND c.abort IN (0, 3) THEN
       UPDATE ${s}.callbacks SET abort = 1 WHERE n = c.n;
       PERFORM ${s}.hint_abort(c.ns, (p->>'by')::bigint);
     END IF;
   END $$`,

  /*
   * {ns, now?, by, keep, keepKeyed, cancels: [TargetItem with a: abort]} -> for each [n, salt, state] as it was found, or null.
   * Those that are named by id and are scheduled go at once.
   */
  `CREATE FUNCTION ${s}.cancel(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     v_ns integer := (p->>'ns')::integer;
     v_now bigint;
     v_answers json[] := array_fill(NULL::json, ARRAY[jsonb_array_length(p->'cancels')]);
     v_many boolean := jsonb_array_length(p->'cancels') > 1;
     v_freed bigint[] := '{}';
     v_done bigint[] := '{}';
     d integer[] := ${s}.none();
     c ${s}.callbacks;
     i record;
   BEGIN
     IF v_many THEN
       PERFORM FROM ${s}.callbacks x
       WHERE x.n = ANY (ARRAY(SELECT (e->>'n')::bigint FROM jsonb_array_elements(p->'cancels') e)) AND x.state + 0 <= 2 ORDER BY x.n FOR UPDATE;
       v_now := ${s}.now_ms(p);
       FOR i IN
         UPDATE ${s}.callbacks x SET state = 6, ended = v_now, held = false,
           forget = v_now + CASE WHEN x.key IS NULL THEN (p->>'keep')::bigint ELSE (p->>'keepKeyed')::bigint END
         FROM (SELECT DISTINCT ON (f.n) f.* FROM jsonb_to_recordset(p->'cancels') AS f(${TARGET}) WHERE f.n IS NOT NULL ORDER BY f.n, f.i) f
         WHERE x.n = f.n AND x.salt = f.s AND x.ns + 0 = v_ns AND x.state + 0 = 0
         RETURNING f.i, x.n, x.salt
       LOOP
         v_answers[i.i + 1] := json_build_array(i.n, i.salt, 0);
         d[1] := d[1] - 1;
         d[7] := d[7] + 1;
       END LOOP;
     END IF;
     FOR i IN SELECT * FROM jsonb_to_recordset(p->'cancels') AS f(${TARGET}, a boolean) ORDER BY f.i LOOP
       CONTINUE WHEN v_answers[i.i + 1] IS NOT NULL;
       c := ${s}.find_locked(v_ns, i.n, i.s, i.k);
       CONTINUE WHEN c.n IS NULL;
       SELECT * INTO d, v_freed FROM ${s}.cancel_row(c, i.a, NULL, ${s}.now_ms(p), p, d, v_freed);
       v_answers[i.i + 1] := json_build_array(c.n, c.salt, c.state);
     END LOOP;
     PERFORM ${s}.count(v_ns, d);
     PERFORM ${s}.pass_turns(v_freed, (p->>'by')::bigint);
     IF random() < 0.02 THEN PERFORM ${s}.fold(v_ns); END IF;
     RETURN to_json(v_answers);
   END $$`,

  `CREATE FUNCTION ${s}.hint_abort(ns integer, by bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     PERFORM ${s}.notify(ns, json_build_object('abort', true, 'by', by));
   END $$`,

  // {ns, by, n, s | k, due | move, last} -> [n, salt, state, due] as it is then, or null; state 0: moved.
  `CREATE FUNCTION ${s}.reschedule(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     v_ns integer := (p->>'ns')::integer;
     v_last bigint := (p->>'last')::bigint;
     v_due bigint;
     c ${s}.callbacks;
   BEGIN
     c := ${s}.find_locked(v_ns, (p->>'n')::bigint, (p->>'s')::bigint, p->>'k');
     IF c.n IS NULL THEN RETURN 'null'; END IF;
     IF c.state <> 0 THEN RETURN json_build_array(c.n, c.salt, c.state, c.due); END IF;
     v_due := coalesce((p->>'due')::bigint, greatest(least(c.due + (p->>'move')::bigint, v_last), -v_last));
     UPDATE ${s}.callbacks SET due = v_due, token = token + 1, held = false WHERE n = c.n;
     IF c.tags IS NOT NULL AND v_due <> c.due THEN
       PERFORM ${s}.remove_tags(v_ns, c.n, c.due, c.tags);
       PERFORM ${s}.add_tags(v_ns, c.n, v_due, c.tags);
     END IF;
     IF v_due < c.due THEN PERFORM ${s}.hint_if_first(v_ns, c.n, v_due, c.queue, (p->>'by')::bigint); END IF;
     RETURN json_build_array(c.n, c.salt, 0, v_due);
   END $$`,

  // {ns, now?, by, keep, keepKeyed, task, n?, s?, until, abort} -> [[n, salt, state, attempts]] as they were found, oldest first.
  `CREATE FUNCTION ${s}.revoke(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     v_ns integer := (p->>'ns')::integer;
     v_now bigint;
     v_until bigint := (p->>'until')::bigint;
     v_found json[];
     v_freed bigint[] := '{}';
     d integer[] := ${s}.none();
     c ${s}.callbacks;
   BEGIN
     -- A put of the same task id comes before or after, never between.
     PERFORM ${s}.lock_task(v_ns, p->>'task');
     IF v_until > ${s}.now_ms(p) THEN
       INSERT INTO ${s}.tombstones (ns, task_id, until) VALUES (v_ns, p->>'task', v_until)
       ON CONFLICT (ns, task_id) DO UPDATE SET until = greatest(tombstones.until, excluded.until);
     END IF;
     FOR c IN SELECT x.* FROM ${s}.callbacks x WHERE x.n = ANY (ARRAY(
         SELECT y.n FROM ${s}.callbacks y WHERE y.ns = v_ns AND y.task_id = p->>'task'
         UNION ALL
         -- The row whose own id is the task id: it carries no other.
         SELECT y.n FROM ${s}.callbacks y WHERE y.n = (p->>'n')::bigint AND y.salt = (p->>'s')::bigint AND y.ns + 0 = v_ns AND y.task_id IS NULL))
       ORDER BY x.n FOR UPDATE
     LOOP
       v_now := ${s}.now_ms(p);
       v_found := v_found || json_build_array(c.n, c.salt, c.state, c.attempts);
       SELECT * INTO d, v_freed FROM ${s}.cancel_row(c, (p->>'abort')::boolean, NULL, v_now, p, d, v_freed);
     END LOOP;
     PERFORM ${s}.count(v_ns, d);
     PERFORM ${s}.pass_turns(v_freed, (p->>'by')::bigint);
     RETURN coalesce(to_json(v_found), '[]');
   END $$`,

  // {ns, now?, tasks: [task id]} -> those for which a tombstone stands.
  `CREATE FUNCTION ${s}.revoked(p jsonb) RETURNS json ${READER} AS $$
   BEGIN
     RETURN (SELECT coalesce(json_agg(t.task_id), '[]') FROM ${s}.tombstones t
       WHERE t.ns = (p->>'ns')::integer AND t.task_id = ANY (ARRAY(SELECT jsonb_array_elements_text(p->'tasks'))) AND t.until > ${s}.now_ms(p));
   END $$`,

  // {ns, n, s | k} -> the row, or null.
  `CREATE FUNCTION ${s}.get(p jsonb) RETURNS json ${READER} AS $$
   DECLARE
     v_ns integer := (p->>'ns')::integer;
   BEGIN
     RETURN coalesce(${s}.row_at(${s}.find(v_ns, (p->>'n')::bigint, (p->>'s')::bigint, p->>'k')), 'null');
   END $$`,
];
