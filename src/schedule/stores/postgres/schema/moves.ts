/**
 * How a row leaves a state, what is counted and who is told: what the operations have in common.
 *
 * In PL/pgSQL, whose plans a server process keeps; a function in SQL is planned anew at each call, unless it is one expression.
 */

/** Only the names that are PostgreSQL's own, whatever the caller's search_path; and never a scan of all rows for want of statistics. */
export const ENTRY = `LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off`;

/** A reader of one snapshot. */
export const READER = `LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off`;

/** Longer queues are not named in a hint: a notification has 8,000 bytes. */
const MAX_HINT_BYTES = 1_500;

/**
 * @param channel begins the names of the channels that hints go to; the namespace's number follows
 */
export const moves = (s: string, channel: string): string[] => [
  // A row as it travels: the order is that of RowTuple.
  `CREATE FUNCTION ${s}.row_of(c ${s}.callbacks, OUT tuple json) LANGUAGE sql STABLE AS $$
     SELECT json_build_array(c.n, c.salt, c.state, c.due, c.token, c.attempts, c.flags, c.grace, c.expires, c.created, c.claimed,
       CASE WHEN c.state = 2 THEN c.lease END, c.ended, c.key, c.task_id, c.queue, c.tags, c.reason, c.task, c.retries, c.more, c.body,
       c.long, c.recurrence, c.generation, c.nominal, c.overlap, c.recurrence_salt)
   $$`,

  `CREATE FUNCTION ${s}.row_at(at bigint) RETURNS json LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     RETURN (SELECT ${s}.row_of(c) FROM ${s}.callbacks c WHERE c.n = at);
   END $$`,

  // Differences by state, numbered from 1: d[1] is scheduled.
  `CREATE FUNCTION ${s}.count(of_ns integer, d integer[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     IF d = ${s}.none() THEN RETURN; END IF;
     INSERT INTO ${s}.deltas VALUES (of_ns, d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10]);
   END $$`,

  `CREATE FUNCTION ${s}.none() RETURNS integer[] LANGUAGE sql IMMUTABLE AS $$ SELECT array_fill(0, ARRAY[10]) $$`,

  `CREATE FUNCTION ${s}.live_count(of_ns integer) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     RETURN (SELECT coalesce(sum(scheduled + waiting + running), 0) FROM ${s}.deltas WHERE ns = of_ns);
   END $$`,

  // Many differences become one. Those that another transaction folds at this moment are left to it.
  `CREATE FUNCTION ${s}.fold(of_ns integer) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     IF (SELECT count(*) FROM (SELECT FROM ${s}.deltas WHERE ns = of_ns LIMIT 50) few) < 50 THEN RETURN; END IF;
     WITH gone AS (
       DELETE FROM ${s}.deltas WHERE ctid = ANY (ARRAY(
         SELECT ctid FROM ${s}.deltas WHERE ns = of_ns LIMIT 1000 FOR UPDATE SKIP LOCKED))
       RETURNING *
     )
     INSERT INTO ${s}.deltas
     SELECT of_ns, sum(scheduled), sum(waiting), sum(running), sum(succeeded), sum(failed), sum(dead), sum(cancelled), sum(stopped),
       sum(expired), sum(skipped)
     FROM gone HAVING count(*) > 0;
   END $$`,

  // Told when the transaction commits. by: the store that did it, which needs no hint.
  `CREATE FUNCTION ${s}.notify(ns integer, change json) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     PERFORM pg_notify('${channel}' || ns, json_strip_nulls(change)::text);
   END $$`,

  // Without a queue it matters to everybody.
  `CREATE FUNCTION ${s}.hint(ns integer, due bigint, queue text, by bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     PERFORM ${s}.notify(ns, json_build_object('due', due, 'by', by, 'queue', CASE WHEN octet_length(queue) <= ${MAX_HINT_BYTES} THEN queue END));
   END $$`,

  // Something of the queue is due then that was not: told when nothing of it was due before.
  `CREATE FUNCTION ${s}.hint_if_first(of_ns integer, at bigint, of_due bigint, of_queue text, by bigint) RETURNS void
   LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     PERFORM FROM ${s}.callbacks c WHERE c.ns = of_ns AND c.queue = of_queue AND c.state < 2 AND c.due <= of_due AND c.n <> at LIMIT 1;
     IF NOT FOUND THEN PERFORM ${s}.hint(of_ns, of_due, of_queue, by); END IF;
   END $$`,

  `CREATE FUNCTION ${s}.add_tags(of_ns integer, at bigint, of_due bigint, of_tags text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     INSERT INTO ${s}.tags SELECT of_ns, t, of_due, at FROM unnest(of_tags) t;
   END $$`,

  `CREATE FUNCTION ${s}.remove_tags(of_ns integer, at bigint, of_due bigint, of_tags text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     DELETE FROM ${s}.tags WHERE ns = of_ns AND tag = ANY (of_tags) AND due = of_due AND n = at;
   END $$`,

  `CREATE FUNCTION ${s}.base36(n bigint) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
   DECLARE
     digits text := '';
   BEGIN
     LOOP
       digits := substr('0123456789abcdefghijklmnopqrstuvwxyz', (n % 36)::integer + 1, 1) || digits;
       n := n / 36;
       EXIT WHEN n = 0;
     END LOOP;
     RETURN digits;
   END $$`,

  // The id of a callback, as names.ts writes it: "r-" begins a recurrence's.
  `CREATE FUNCTION ${s}.id_of(n bigint, salt bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
     SELECT CASE WHEN n = 27 THEN '0r' ELSE ${s}.base36(n) END || '-' || ${s}.base36(salt)
   $$`,

  // Its end was asked for while it ran: it must not run again.
  `CREATE FUNCTION ${s}.is_unwanted(c ${s}.callbacks, now bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     RETURN c.abort <> 0 OR EXISTS (SELECT FROM ${s}.tombstones t
       WHERE t.ns = c.ns AND t.task_id = coalesce(c.task_id, ${s}.id_of(c.n, c.salt)) AND t.until > now);
   END $$`,

  `CREATE FUNCTION ${s}.end_row(at bigint, to_state smallint, why text, now bigint, keep bigint, keep_keyed bigint) RETURNS void
   LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     UPDATE ${s}.callbacks SET state = to_state, ended = now, reason = why,
       forget = now + CASE WHEN key IS NULL THEN keep ELSE keep_keyed END, lease = NULL, owner = NULL, abort = 0, held = false
     WHERE n = at;
   END $$`,

  // A running one goes back to where it can be claimed, without its lease. A claim that never began leaves no trace.
  `CREATE FUNCTION ${s}.give_back(c ${s}.callbacks, to_state smallint, to_due bigint, by bigint) RETURNS void
   LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     UPDATE ${s}.callbacks SET state = to_state, due = to_due, lease = NULL, owner = NULL, abort = 0,
       claimed = CASE WHEN to_state = 0 THEN NULL ELSE claimed END
     WHERE n = c.n;
     IF c.tags IS NOT NULL AND to_due <> c.due THEN
       PERFORM ${s}.remove_tags(c.ns, c.n, c.due, c.tags);
       PERFORM ${s}.add_tags(c.ns, c.n, to_due, c.tags);
     END IF;
     PERFORM ${s}.hint_if_first(c.ns, c.n, to_due, c.queue, by);
   END $$`,

  // Ended, or given back: whatever was decided. Counts itself into d, and names its recurrence if others waited for it.
  `CREATE FUNCTION ${s}.meet(
     c ${s}.callbacks, to_state smallint, why text, to_due bigint, now bigint, keep bigint, keep_keyed bigint, by bigint,
     INOUT d integer[], INOUT freed bigint[]
   ) LANGUAGE plpgsql VOLATILE AS $$
   BEGIN
     d[c.state + 1] := d[c.state + 1] - 1;
     d[to_state + 1] := d[to_state + 1] + 1;
     IF to_state <= 1 THEN PERFORM ${s}.give_back(c, to_state, to_due, by);
     ELSE PERFORM ${s}.end_row(c.n, to_state, why, now, keep, keep_keyed);
     END IF;
     IF c.recurrence IS NOT NULL AND (to_state = 0 OR to_state > 2 AND c.state <> 0) THEN freed := freed || c.recurrence; END IF;
   END $$`,

  /*
   * What was held by an occurrence that has ended, or was given back unstarted, has its turn: the oldest. One that another
   * transaction is at is left: it is looked at again within a second (I9), and nobody waits for each other in a circle.
   */
  `CREATE FUNCTION ${s}.pass_turns(freed bigint[], by bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
   DECLARE
     c ${s}.callbacks;
     of_recurrence bigint;
     to_due bigint;
   BEGIN
     FOR of_recurrence IN SELECT DISTINCT r FROM unnest(freed) r WHERE r IS NOT NULL LOOP
       SELECT * INTO c FROM ${s}.callbacks WHERE n = (
         SELECT o.n FROM ${s}.callbacks o WHERE o.recurrence = of_recurrence AND o.state = 0 AND o.held ORDER BY o.nominal, o.n LIMIT 1
       ) AND state + 0 = 0 AND held FOR UPDATE SKIP LOCKED;
       CONTINUE WHEN NOT FOUND;
       to_due := least(c.nominal, c.due);
       UPDATE ${s}.callbacks SET held = false, due = to_due, grace = CASE WHEN flags & 1 = 0 THEN grace ELSE due + grace - to_due END
       WHERE n = c.n;
       IF c.tags IS NOT NULL AND to_due <> c.due THEN
         PERFORM ${s}.remove_tags(c.ns, c.n, c.due, c.tags);
         PERFORM ${s}.add_tags(c.ns, c.n, to_due, c.tags);
       END IF;
       PERFORM ${s}.hint_if_first(c.ns, c.n, to_due, c.queue, by);
     END LOOP;
   END $$`,
];
