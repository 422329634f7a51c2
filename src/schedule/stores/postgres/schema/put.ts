/**
 * Adding callbacks: keys, redelivered messages, revoked task ids, the limit, hints. One function for the store and for a caller's own
 * transaction (`tx`), which needs nothing but the right to call it.
 */
import { inLiteral } from "../names.ts";
import { ENTRY } from "./moves.ts";

/** A callback on its way in: PutItem of rows.ts. */
const ITEM = `i integer, s bigint, d bigint, f smallint, r bigint, x bigint, k text, c smallint, t text, e bigint, q text, g text[],
  w text, m text, b text, l text`;
const COLUMNS =
  "n, salt, ns, due, created, flags, grace, retries, expires, key, task_id, arrived, queue, task, tags, more, long, body";
const VALUES = (i: string, n: string) =>
  `${n}, ${i}.s, p_ns, ${i}.d, v_now, ${i}.f, ${i}.r, ${i}.e, ${i}.x, ${i}.k, ${i}.t, CASE WHEN ${i}.t IS NOT NULL THEN ${i}.e END,
         ${i}.q, ${i}.w, ${i}.g, ${i}.m, ${i}.l, ${i}.b`;

export const put = (s: string): string[] => [
  // Those that have neither key nor task id make a row each, and wait for nobody: their numbers, in order. p_call: PutCall of rows.ts.
  `CREATE FUNCTION ${s}.put_plain(p_ns integer, p_call jsonb, v_now bigint, p_by bigint) RETURNS json LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     v_items jsonb := p_call->'items';
     v_n bigint[] := ARRAY(SELECT nextval('${inLiteral(s)}.callback_n') FROM generate_series(1, jsonb_array_length(v_items)));
     v_first record;
   BEGIN
     -- Earlier than all of its queue: worth a hint.
     FOR v_first IN SELECT f.key AS queue, f.value::bigint AS due FROM jsonb_each_text(p_call->'firsts') f LOOP
       IF v_first.due < coalesce(${s}.first_of_queue(p_ns, v_first.queue), v_first.due + 1) THEN
         PERFORM ${s}.hint(p_ns, v_first.due, v_first.queue, p_by);
       END IF;
     END LOOP;
     INSERT INTO ${s}.callbacks (${COLUMNS})
     SELECT ${VALUES("x", "v_n[x.i + 1]")} FROM jsonb_to_recordset(v_items) AS x(${ITEM});
     IF (p_call->>'tagged')::boolean THEN
       INSERT INTO ${s}.tags SELECT p_ns, tag, x.d, v_n[x.i + 1]
       FROM jsonb_to_recordset(v_items) AS x(i integer, d bigint, g text[]), unnest(x.g) tag WHERE x.g IS NOT NULL;
     END IF;
     PERFORM ${s}.count(p_ns, ARRAY[cardinality(v_n), 0, 0, 0, 0, 0, 0, 0, 0, 0]);
     RETURN to_json(v_n);
   END $$`,

  /*
   * Answers [code, n, salt, due] for each, in order: 0 added, 1 existing, 2 replaced, 3 too late, 4 conflict, 5 revoked.
   *
   * Those that are the first of their key, and of their message, in the batch are inserted at once, in the order of their keys, so that
   * two batches never wait for each other in a circle. What finds its key or message taken is decided one by one.
   */
  `CREATE FUNCTION ${s}.put_items(p_ns integer, p_items jsonb, v_now bigint, p_by bigint) RETURNS json LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     v_n bigint[] := ARRAY(SELECT nextval('${inLiteral(s)}.callback_n') FROM generate_series(1, jsonb_array_length(p_items)));
     v_answers json[];
     v_changed bigint[];
     v_revoked integer[];
     v_first record;
     v_before jsonb;
     v_added integer;
     h ${s}.callbacks;
     i record;
     v_tries integer;
   BEGIN
     -- The first of each queue, as it is before: what comes earlier is worth a hint.
     SELECT jsonb_object_agg(m.q, ${s}.first_of_queue(p_ns, m.q)) INTO v_before
     FROM (SELECT DISTINCT x.q FROM jsonb_to_recordset(p_items) AS x(q text)) m;
     -- A revoke of the same task id comes before or after, never between.
     PERFORM ${s}.lock_task(p_ns, t.id)
     FROM (SELECT DISTINCT x.t AS id FROM jsonb_to_recordset(p_items) AS x(t text) WHERE x.t IS NOT NULL ORDER BY 1) t;
     v_answers := array_fill(NULL::json, ARRAY[cardinality(v_n)]);
     v_revoked := ARRAY(SELECT x.i FROM jsonb_to_recordset(p_items) AS x(i integer, t text)
       WHERE EXISTS (SELECT FROM ${s}.tombstones b WHERE b.ns = p_ns AND b.task_id = x.t AND b.until > v_now));
     WITH items AS MATERIALIZED (
       SELECT y.*, row_number() OVER (PARTITION BY y.k ORDER BY y.i) AS of_key, row_number() OVER (PARTITION BY y.t, y.e ORDER BY y.i) AS of_task
       FROM jsonb_to_recordset(p_items) AS y(${ITEM})
     ), fresh AS (
       INSERT INTO ${s}.callbacks (${COLUMNS})
       SELECT ${VALUES("x", "v_n[x.i + 1]")} FROM items x
       WHERE x.i <> ALL (v_revoked) AND (x.k IS NULL OR x.of_key = 1) AND (x.t IS NULL OR x.of_task = 1)
       ORDER BY x.k NULLS FIRST, x.i
       ON CONFLICT DO NOTHING RETURNING n
     ), tagged AS (
       INSERT INTO ${s}.tags SELECT p_ns, tag, x.d, fresh.n
       FROM fresh JOIN items x ON v_n[x.i + 1] = fresh.n, unnest(x.g) tag
     )
     SELECT array_agg(fresh.n) INTO v_changed FROM fresh;
     v_added := coalesce(cardinality(v_changed), 0);

     FOR i IN SELECT x.*, v_n[x.i + 1] AS n, f.n IS NOT NULL AS is_added
       FROM jsonb_to_recordset(p_items) AS x(${ITEM}) LEFT JOIN unnest(v_changed) f(n) ON f.n = v_n[x.i + 1] ORDER BY x.i
     LOOP
       IF i.is_added THEN v_answers[i.i + 1] := json_build_array(0, i.n, i.s, i.d);
       ELSIF i.i = ANY (v_revoked) THEN v_answers[i.i + 1] := '[5,0,0,0]';
       END IF;
       v_tries := 0;
       WHILE v_answers[i.i + 1] IS NULL LOOP
         v_tries := v_tries + 1;
         IF v_tries > 100 THEN RAISE serialization_failure USING MESSAGE = 'the key changes hands too often'; END IF;
         IF i.t IS NOT NULL THEN
           SELECT * INTO h FROM ${s}.callbacks c WHERE c.ns = p_ns AND c.task_id = i.t AND c.arrived = i.e;
           IF FOUND THEN
             v_answers[i.i + 1] := json_build_array(1, h.n, h.salt, h.due);
             CONTINUE;
           END IF;
         END IF;
         SELECT * INTO h FROM ${s}.callbacks c WHERE c.ns = p_ns AND c.key = i.k AND c.state <= 2;
         IF NOT FOUND THEN
           INSERT INTO ${s}.callbacks (${COLUMNS}) VALUES (${VALUES("i", "i.n")}) ON CONFLICT DO NOTHING;
           IF FOUND THEN
             PERFORM ${s}.add_tags(p_ns, i.n, i.d, i.g);
             v_added := v_added + 1;
             v_changed := v_changed || i.n;
             v_answers[i.i + 1] := json_build_array(0, i.n, i.s, i.d);
           END IF;
         ELSIF i.c = 0 THEN
           v_answers[i.i + 1] := json_build_array(1, h.n, h.salt, h.due);
         ELSIF i.c = 2 THEN
           v_answers[i.i + 1] := json_build_array(4, h.n, h.salt, h.due);
         ELSIF h.state <> 0 THEN
           v_answers[i.i + 1] := json_build_array(3, h.n, h.salt, h.due);
         ELSE
           -- Locked only while it is scheduled: a transaction that stays open must not keep a worker from what runs.
           SELECT * INTO h FROM ${s}.callbacks c WHERE c.n = h.n AND c.state + 0 = 0 FOR UPDATE;
           IF FOUND THEN
             PERFORM ${s}.remove_tags(p_ns, h.n, h.due, h.tags);
             UPDATE ${s}.callbacks SET due = i.d, token = token + 1, flags = i.f, grace = i.r, retries = i.e, expires = i.x, task_id = i.t,
               arrived = CASE WHEN i.t IS NOT NULL THEN i.e END, queue = i.q, task = i.w, tags = i.g, more = i.m, long = i.l, body = i.b
             WHERE n = h.n;
             PERFORM ${s}.add_tags(p_ns, h.n, i.d, i.g);
             v_changed := v_changed || h.n;
             v_answers[i.i + 1] := json_build_array(2, h.n, h.salt, i.d);
           END IF;
         END IF;
       END LOOP;
     END LOOP;
     PERFORM ${s}.count(p_ns, ARRAY[v_added, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
     FOR v_first IN
       SELECT c.queue, min(c.due) AS due FROM ${s}.callbacks c WHERE c.n = ANY (v_changed) AND c.state + 0 = 0 GROUP BY c.queue
     LOOP
       IF v_first.due < coalesce((v_before->>v_first.queue)::bigint, 9223372036854775807) THEN
         PERFORM ${s}.hint(p_ns, v_first.due, v_first.queue, p_by);
       END IF;
     END LOOP;
     RETURN to_json(v_answers);
   END $$`,

  // Advisory, and gone with the transaction: there may be no row to lock yet.
  `CREATE FUNCTION ${s}.lock_task(ns integer, task_id text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     PERFORM pg_advisory_xact_lock(hashtextextended(ns || ':' || task_id, 7060341));
   END $$`,

  // How many rows these would make: one whose key or whose message has a row already makes none.
  `CREATE FUNCTION ${s}.added_by(p_ns integer, p_items jsonb) RETURNS bigint LANGUAGE sql VOLATILE AS $$
     SELECT count(*) FILTER (WHERE x.k IS NULL) + count(DISTINCT x.k)
     FROM jsonb_to_recordset(p_items) AS x(k text, t text, e bigint)
     WHERE (x.t IS NULL OR NOT EXISTS (SELECT FROM ${s}.callbacks c WHERE c.ns = p_ns AND c.task_id = x.t AND c.arrived = x.e))
       AND (x.k IS NULL OR NOT EXISTS (SELECT FROM ${s}.callbacks c WHERE c.ns = p_ns AND c.key = x.k AND c.state <= 2))
   $$`,

  /*
   * {ns, now?, by?, max, calls: [PutCall]}; for each call its answers, or null: the limit is reached, and nothing of it was added.
   * ns is a number, or the name of a namespace that may be new (a caller's transaction knows no numbers).
   */
  `CREATE FUNCTION ${s}.put(p jsonb) RETURNS json ${ENTRY} AS $$
   DECLARE
     v_ns integer := ${s}.namespace(p->'ns');
     v_now bigint := ${s}.now_ms(p);
     v_by bigint := (p->>'by')::bigint;
     v_max bigint := (p->>'max')::bigint;
     v_live bigint;
     v_answers json[] := '{}';
     v_answer json;
     v_call jsonb;
   BEGIN
     IF v_max > 0 THEN v_live := ${s}.live_count(v_ns); END IF;
     FOR v_call IN SELECT * FROM jsonb_array_elements(p->'calls') LOOP
       IF v_max > 0 AND v_live + jsonb_array_length(v_call->'items') > v_max
         AND v_live + ${s}.added_by(v_ns, v_call->'items') > v_max
       THEN
         v_answer := NULL;
       ELSE
         IF (v_call->>'plain')::boolean THEN v_answer := ${s}.put_plain(v_ns, v_call, v_now, v_by);
         ELSE v_answer := ${s}.put_items(v_ns, v_call->'items', v_now, v_by);
         END IF;
         IF v_max > 0 THEN v_live := ${s}.live_count(v_ns); END IF;
       END IF;
       v_answers := v_answers || coalesce(v_answer, 'null'::json);
     END LOOP;
     -- A transaction of the caller's may stay open: it folds nothing.
     IF v_by IS NOT NULL AND random() < 0.02 THEN PERFORM ${s}.fold(v_ns); END IF;
     RETURN to_json(v_answers);
   END $$`,

  `CREATE FUNCTION ${s}.namespace(ns jsonb) RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     v_name text := ns#>>'{}';
     v_n integer;
   BEGIN
     IF jsonb_typeof(ns) = 'number' THEN RETURN v_name::integer; END IF;
     LOOP
       SELECT n INTO v_n FROM ${s}.namespaces WHERE name = v_name;
       IF FOUND THEN RETURN v_n; END IF;
       INSERT INTO ${s}.namespaces (name) VALUES (v_name) ON CONFLICT DO NOTHING RETURNING n INTO v_n;
       IF FOUND THEN RETURN v_n; END IF;
     END LOOP;
   END $$`,
];
