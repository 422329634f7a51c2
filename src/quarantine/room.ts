/**
 * Room for what comes. An old message without its body still tells what arrived, when, and why it was refused; so bodies go
 * first, oldest first, and records only when that is not enough. What goes is counted, and said in the log.
 */
import type { Logger } from "../kit/log.ts";
import type { QuarantineLimits } from "./limits.ts";

/** Where records stand, by number; the oldest has the lowest. */
export interface Shelf {
  readonly records: number;
  /** Of all records, with what is kept of their bodies. */
  readonly bytes: number;
  oldest(): number | undefined;
  /** The oldest of which some of the body is kept. */
  oldestBody(): number | undefined;
  dropRecord(n: number): void;
  dropBody(n: number): void;
}

export interface Dropped {
  readonly records: number;
  readonly bodies: number;
}

/** What one new record may push out: it stays short even when the limits were lowered. The next ones go on. */
const PASS = 100;

/** @param newest what has come last stays whole */
export function makeRoom(shelf: Shelf, limits: QuarantineLimits, newest: number): Dropped {
  let [records, bodies] = [0, 0];
  while (records + bodies < PASS) {
    const tooMany = shelf.records > limits.maxRecords;
    if (!tooMany && shelf.bytes <= limits.maxBytes) break;
    const body = tooMany ? undefined : shelf.oldestBody();
    if (body !== undefined && body !== newest) {
      shelf.dropBody(body);
      bodies += 1;
      continue;
    }
    const record = shelf.oldest();
    if (record === undefined || record === newest) break;
    shelf.dropRecord(record);
    records += 1;
  }
  return { records, bodies };
}

/** @param inAll what was dropped so far, this time among it */
export function tellDropped(
  log: Pick<Logger, "warn"> | undefined,
  now: Dropped,
  inAll: Dropped,
  limits: QuarantineLimits,
) {
  if (log === undefined || now.records + now.bodies === 0) return;
  const full = `The quarantine is full (limits: ${limits.maxRecords} records, ${limits.maxBytes} bytes)`;
  log.warn(`${full}: its oldest made room, ${saying(now)} now and ${saying(inAll)} so far`);
}

function saying({ records, bodies }: Dropped): string {
  return `${records} ${records === 1 ? "record" : "records"} and the ${bodies === 1 ? "body" : "bodies"} of ${bodies} more`;
}
