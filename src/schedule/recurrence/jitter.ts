/**
 * Where in its jitter an occurrence falls: a pure function of the recurrence and the nominal time, so that whoever works it out, and however
 * often, comes to the same moment.
 */
import { createHash } from "node:crypto";

/**
 * A whole number from 0 to `roomMs`, each as likely as the other.
 * @param identity of the recurrence; others fall elsewhere at the same nominal time
 */
export function jitterOf(identity: string, nominalMs: number, roomMs: number): number {
  if (roomMs <= 0) return 0;
  const hash = createHash("sha256").update(`${nominalMs} ${identity}`).digest();
  // 48 bits: a room of a year has 2^35 ms, so no moment is favoured by more than 1 in 8,000.
  return Math.floor((hash.readUIntBE(0, 6) / 2 ** 48) * (roomMs + 1));
}
