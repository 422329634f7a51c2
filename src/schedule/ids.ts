/**
 * Ids as a store makes them: a number of its own, and random text behind it. Pure.
 *
 * A recurrence's id begins with "r-", so no callback's may: the number that is written "r" (27) has a zero before it.
 */

/** The number of a row, as it begins the id of a callback. */
export function textOfRow(n: number): string {
  const text = n.toString(36);
  return text === "r" ? "0r" : text;
}

export function callbackId(n: number, salt: string): string {
  return `${textOfRow(n)}-${salt}`;
}

export function recurrenceId(n: number, salt: string): string {
  return `r-${textOfRow(n)}-${salt}`;
}

/** An id as it stands in "r-…": undefined when it is no recurrence's. */
export function withoutPrefix(id: string): string | undefined {
  return id.startsWith("r-") ? id.slice(2) : undefined;
}
