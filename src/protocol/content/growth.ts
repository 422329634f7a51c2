/** How large what came may become when it is unpacked: a small message must not become a large one. */

/** How many times larger, once it is past `ALWAYS_BYTES`. JSON packs 5 to 20 times. */
const MAX_RATIO = 100;
const ALWAYS_BYTES = 1024 * 1024;

/** @param maxBytes the limit of all messages */
export function mayGrowTo(bytes: number, maxBytes: number): number {
  return Math.min(maxBytes, Math.max(ALWAYS_BYTES, bytes * MAX_RATIO));
}
