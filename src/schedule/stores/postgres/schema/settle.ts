/** How claimed runs end, what is given back unstarted, and leases. The token decides, never the state alone. */
import { ENTRY } from "./moves.ts";

/** What a claim is known by; `k` and `why` say how it ended. ClaimItem and EndItem of rows.ts. */
const CLAIM = "i integer, n bigint, s bigint, t bigint";
const END = `${CLAIM}, k text, why text, d bigint, w text, e bigint, m text, b text`;

export const settle = (s: string): string[] => [
  /*
   * {ns, now?, by, crashLimit, lostLimit, keep, keepKeyed, ends: [EndItem]} -> for each: null (the lease was lost), the moment of its end
   * (a run that simply ended changed nothing else), or the row as it stands now.
   */
  `CREATE FUNCTION ${s}.settle(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     v_ns integer := (p->>'ns')::integer;
     v_by bigint := (p->>'by')::bigint;
     v_keep bigint := (p->>'keep')::bigint;
     v_keep_keyed bigint := (p->>'keepKeyed')::bigint;
     v_now bigint;
     v_answers json[] := array_fill(NULL::json, ARRAY[jsonb_array_length(p->'ends')]);
     v_freed bigint[] := '{}';
     d integer[] := ${s}.none();
     c ${s}.callbacks;
     i record;
     fate record;
   BEGIN
     -- In one order, so that two of these never wait for each other in a circle.
     PERFORM FROM ${s}.callbacks x WHERE x.n = ANY (ARRAY(SELECT (e->>'n')::bigint FROM jsonb_array_elements(p->'ends') e)) AND x.ns + 0 = v_ns AND x.state + 0 = 2
       ORDER BY x.n FOR UPDATE;
     v_now := ${s}.now_ms(p);
     FOR i IN
       UPDATE ${s}.callbacks x SET state = e.state, ended = v_now, reason = e.why,
         forget = v_now + CASE WHEN x.key IS NULL THEN v_keep ELSE v_keep_keyed END, lease = NULL, owner = NULL, abort = 0
       FROM (SELECT DISTINCT ON (f.n) f.*, CASE f.k WHEN 'succeeded' THEN 3 WHEN 'failed' THEN 4 WHEN 'stopped' THEN 7 END AS state
         FROM jsonb_to_recordset(p->'ends') AS f(${END}) WHERE f.k IN ('succeeded', 'failed', 'stopped') ORDER BY f.n, f.t DESC, f.i) e
       WHERE x.n = e.n AND x.salt = e.s AND x.ns + 0 = v_ns AND x.token = e.t AND x.state + 0 = 2
       RETURNING e.i, e.state, x.recurrence
     LOOP
       v_answers[i.i + 1] := to_json(v_now);
       d[3] := d[3] - 1;
       d[i.state + 1] := d[i.state + 1] + 1;
       IF i.recurrence IS NOT NULL THEN v_freed := v_freed || i.recurrence; END IF;
     END LOOP;
     IF jsonb_path_exists(p->'ends', '$[*] ? (@.k == "crashed" || @.k == "lost" || @.k == "retry")') THEN
       FOR i IN SELECT * FROM jsonb_to_recordset(p->'ends') AS f(${END}) WHERE f.k IN ('crashed', 'lost', 'retry') ORDER BY f.i LOOP
         SELECT * INTO c FROM ${s}.callbacks x WHERE x.n = i.n AND x.salt = i.s AND x.ns + 0 = v_ns AND x.token = i.t AND x.state + 0 = 2;
         CONTINUE WHEN NOT FOUND;
         IF i.k = 'crashed' THEN
           UPDATE ${s}.callbacks SET crashes = crashes + 1 WHERE n = c.n;
           fate := ${s}.fate_of_crash(c.flags & 2 = 2, c.crashes + 1, ${s}.is_unwanted(c, v_now), (p->>'crashLimit')::integer, i.why);
         ELSIF i.k = 'lost' THEN
           UPDATE ${s}.callbacks SET losses = losses + 1 WHERE n = c.n;
           fate := ${s}.fate_of_loss(c.flags & 2 = 2, c.losses + 1, ${s}.is_unwanted(c, v_now), (p->>'lostLimit')::integer, i.why);
         ELSE
           -- Of the fates of a crash those two that a retry has: unwanted, or waiting.
           fate := ${s}.fate_of_crash(false, 0, ${s}.is_unwanted(c, v_now), 1, NULL);
           IF fate.state = 1 THEN
             UPDATE ${s}.callbacks SET task = i.w, retries = i.e, more = i.m, body = i.b WHERE n = c.n;
           END IF;
         END IF;
         SELECT * INTO d, v_freed FROM ${s}.meet(
           c, fate.state, fate.reason, coalesce(i.d, v_now), v_now, v_keep, v_keep_keyed, v_by, d, v_freed);
         v_answers[i.i + 1] := ${s}.row_at(c.n);
       END LOOP;
     END IF;
     PERFORM ${s}.count(v_ns, d);
     PERFORM ${s}.pass_turns(v_freed, v_by);
     IF random() < 0.02 THEN PERFORM ${s}.fold(v_ns); END IF;
     RETURN to_json(v_answers);
   END $$`,

  // {ns, now?, by, keep, keepKeyed, claims: [ClaimItem]}
  `CREATE FUNCTION ${s}.release(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     v_ns integer := (p->>'ns')::integer;
     v_now bigint;
     v_freed bigint[] := '{}';
     d integer[] := ${s}.none();
     c ${s}.callbacks;
     i record;
     v_unwanted boolean;
     v_state smallint;
   BEGIN
     -- What pauses or replaces a recurrence comes before or after: recurrences first, as there.
     PERFORM FROM ${s}.recurrences r WHERE r.n = ANY (ARRAY(SELECT x.recurrence FROM ${s}.callbacks x
         WHERE x.n = ANY (ARRAY(SELECT (e->>'n')::bigint FROM jsonb_array_elements(p->'claims') e)) AND x.recurrence IS NOT NULL))
       ORDER BY r.n FOR SHARE;
     PERFORM FROM ${s}.callbacks x WHERE x.n = ANY (ARRAY(SELECT (e->>'n')::bigint FROM jsonb_array_elements(p->'claims') e)) AND x.ns + 0 = v_ns AND x.state + 0 = 2
       ORDER BY x.n FOR UPDATE;
     v_now := ${s}.now_ms(p);
     FOR i IN SELECT * FROM jsonb_to_recordset(p->'claims') AS f(${CLAIM}) ORDER BY f.i LOOP
       SELECT * INTO c FROM ${s}.callbacks x WHERE x.n = i.n AND x.salt = i.s AND x.ns + 0 = v_ns AND x.token = i.t AND x.state + 0 = 2;
       CONTINUE WHEN NOT FOUND;
       UPDATE ${s}.callbacks SET attempts = attempts - 1 WHERE n = c.n;
       v_unwanted := ${s}.is_unwanted(c, v_now) OR c.attempts = 1 AND EXISTS (
         -- Had it not been claimed, the replacement or the pause would have cancelled it.
         SELECT FROM ${s}.recurrences r WHERE r.n = c.recurrence AND (r.generation <> c.generation OR r.state = 1));
       v_state := CASE WHEN c.attempts = 1 THEN CASE WHEN v_unwanted THEN 6 ELSE 0 END ELSE CASE WHEN v_unwanted THEN 7 ELSE 1 END END;
       SELECT * INTO d, v_freed FROM ${s}.meet(
         c, v_state, NULL, c.due, v_now, (p->>'keep')::bigint, (p->>'keepKeyed')::bigint, (p->>'by')::bigint, d, v_freed);
     END LOOP;
     PERFORM ${s}.count(v_ns, d);
     PERFORM ${s}.pass_turns(v_freed, (p->>'by')::bigint);
     RETURN 'null';
   END $$`,

  // {ns, now?, lease, claims: [ClaimItem]} -> for each: when its lease ends now; null: it was lost.
  `CREATE FUNCTION ${s}.renew(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     v_ns integer := (p->>'ns')::integer;
     v_until bigint;
     v_answers json;
   BEGIN
     PERFORM FROM ${s}.callbacks x WHERE x.n = ANY (ARRAY(SELECT (e->>'n')::bigint FROM jsonb_array_elements(p->'claims') e)) AND x.ns + 0 = v_ns AND x.state + 0 = 2
       ORDER BY x.n FOR UPDATE;
     v_until := ${s}.now_ms(p) + (p->>'lease')::bigint;
     WITH held AS (
       UPDATE ${s}.callbacks x SET lease = v_until
       FROM (SELECT DISTINCT f.n, f.s, f.t FROM jsonb_to_recordset(p->'claims') AS f(${CLAIM})) f
       WHERE x.n = f.n AND x.salt = f.s AND x.ns + 0 = v_ns AND x.token = f.t AND x.state + 0 = 2
       RETURNING x.n, x.token
     )
     SELECT json_agg(CASE WHEN held.n IS NOT NULL THEN v_until END ORDER BY f.i) INTO v_answers
     FROM jsonb_to_recordset(p->'claims') AS f(${CLAIM}) LEFT JOIN held ON held.n = f.n AND held.token = f.t;
     RETURN v_answers;
   END $$`,

  // {ns, owner} -> [[n, salt, token]]: abort requests for what this owner runs, each once.
  `CREATE FUNCTION ${s}.take_aborts(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     v_owner bigint;
     v_answer json;
   BEGIN
     SELECT o.n INTO v_owner FROM ${s}.owners o WHERE o.ns = (p->>'ns')::integer AND o.name = p->>'owner';
     PERFORM FROM ${s}.callbacks x WHERE x.owner = v_owner AND x.state = 2 AND x.abort = 1 LIMIT 1;
     IF NOT FOUND THEN RETURN '[]'; END IF;
     PERFORM FROM ${s}.callbacks x WHERE x.owner = v_owner AND x.state = 2 AND x.abort = 1 ORDER BY x.n FOR UPDATE;
     WITH taken AS (
       UPDATE ${s}.callbacks x SET abort = 2 WHERE x.owner = v_owner AND x.state = 2 AND x.abort = 1 RETURNING x.n, x.salt, x.token
     )
     SELECT coalesce(json_agg(json_build_array(n, salt, token) ORDER BY n), '[]') INTO v_answer FROM taken;
     RETURN v_answer;
   END $$`,
];
