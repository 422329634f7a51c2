/**
 * What becomes of a callback, said once more in SQL: `rules.ts`, line for line. An operation is one statement, which holds its locks no
 * longer than the server needs for it, whatever becomes of the client; so it has to decide where the rows are. A test
 * puts random rows to both, and holds them together.
 *
 * A fate is a state and a reason; with state null the callback is to be claimed.
 */

/** Beside `rules.ts`'s. */
const PUNCTUAL_MS = 1_000;
const HOLD_MS = 1_000;

export const rules = (s: string): string[] => [
  `CREATE FUNCTION ${s}.now_ms(p jsonb) RETURNS bigint LANGUAGE sql VOLATILE AS $$
     SELECT coalesce((p->>'now')::bigint, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
   $$`,

  // As Date.toISOString. A year that to_char cannot write is told as it is.
  `CREATE FUNCTION ${s}.iso(ms bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
     SELECT CASE WHEN ms BETWEEN -62135596800000 AND 253402300799999
       THEN to_char(timestamp 'epoch' + ms * interval '1 millisecond', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
       ELSE ms || ' ms since 1970' END
   $$`,

  `CREATE FUNCTION ${s}.times(count integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
     SELECT CASE WHEN count = 1 THEN 'once' ELSE count || ' times' END
   $$`,

  // Counted from an occurrence's nominal time: while it was held, its due time moved on.
  `CREATE FUNCTION ${s}.lateness(due bigint, grace bigint, nominal bigint, now bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
     SELECT 'it was ' || now - coalesce(nominal, due) || ' ms late, with a grace of '
       || due + grace - coalesce(nominal, due) || ' ms'
       || CASE WHEN nominal IS NULL THEN '' ELSE ': it is left to newer occurrences' END
   $$`,

  `CREATE FUNCTION ${s}.fate_when_due(
     attempts integer, due bigint, expires bigint, flags integer, grace bigint, nominal bigint, now bigint,
     OUT state smallint, OUT reason text
   ) LANGUAGE plpgsql IMMUTABLE AS $$
   BEGIN
     IF expires <= now THEN
       IF attempts = 0 THEN
         state := 8;
         reason := 'it had to start before ' || ${s}.iso(expires);
       ELSE
         state := 4;
         reason := 'it had to start before ' || ${s}.iso(expires) || ', and so could not run again';
       END IF;
     ELSIF attempts = 0 AND flags & 1 = 1 AND now - due > grace + ${PUNCTUAL_MS} THEN
       state := 9;
       reason := ${s}.lateness(due, grace, nominal, now);
     END IF;
   END $$`,

  // Of an occurrence that is due for the first time, while another of its recurrence is under way: skipped, or held until then.
  `CREATE FUNCTION ${s}.fate_of_overlap(
     overlap integer, due bigint, flags integer, grace bigint, nominal bigint, now bigint,
     OUT state smallint, OUT reason text, OUT held_due bigint, OUT held_grace bigint
   ) LANGUAGE plpgsql IMMUTABLE AS $$
   BEGIN
     IF overlap = 0 THEN RETURN; END IF;
     IF overlap = 1 THEN
       state := 9;
       reason := 'an earlier occurrence had not ended';
     ELSIF flags & 1 = 0 THEN
       held_due := now + ${HOLD_MS};
       held_grace := grace;
     ELSIF due + grace <= now THEN
       state := 9;
       reason := ${s}.lateness(due, grace, nominal, now) || ', as an earlier one had not ended';
     ELSE
       -- The moment until which it may start stands, however often it is held.
       held_due := least(now + ${HOLD_MS}, due + grace);
       held_grace := due + grace - held_due;
     END IF;
   END $$`,

  `CREATE FUNCTION ${s}.fate_of_crash(
     fails boolean, crashes integer, unwanted boolean, crash_limit integer, how text, OUT state smallint, OUT reason text
   ) LANGUAGE plpgsql IMMUTABLE AS $$
   BEGIN
     IF unwanted THEN
       state := 7;
       reason := 'it was to be stopped while it ran, and does not run again';
     ELSIF fails THEN
       state := 4;
       reason := 'WorkerLostError: ' || how;
     ELSIF crashes >= crash_limit THEN
       state := 5;
       reason := 'its process died ' || ${s}.times(crashes) || ', the last time: ' || how;
     ELSE
       state := 1;
     END IF;
   END $$`,

  `CREATE FUNCTION ${s}.fate_of_loss(
     fails boolean, losses integer, unwanted boolean, lost_limit integer, how text, OUT state smallint, OUT reason text
   ) LANGUAGE plpgsql IMMUTABLE AS $$
   BEGIN
     IF unwanted THEN
       state := 7;
       reason := 'it was to be stopped while it ran, and does not run again';
     ELSIF fails THEN
       state := 4;
       reason := 'WorkerLostError: ' || how;
     ELSIF losses >= lost_limit THEN
       state := 5;
       reason := how || ', ' || ${s}.times(losses);
     ELSE
       state := 1;
     END IF;
   END $$`,
];
