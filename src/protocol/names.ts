/**
 * What may be a task's name or id. Both go into logs, routing and result keys, and AMQP carries an id as a short
 * string; beyond that Celery asks nothing of either.
 */

/** Of an AMQP short string. */
export const MAX_SHORT_BYTES = 255;

/** Controls, bidirectional and other invisible marks, lone surrogates, line separators. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/**
 * Why the text cannot be a task's name, as the end of a sentence; undefined if it can. Any printable text of 1 to 255
 * characters: Celery's names are dotted Python paths as a rule, which may hold any letters, but `name=` takes anything.
 * A name chooses nothing but an entry of the registry, so `../x` or `__proto__` is an unknown task and no more.
 */
export function nameProblem(name: unknown): string | undefined {
  if (typeof name !== "string") return "is not text";
  if (name === "") return "is empty";
  if (name.length > 255) return `has ${name.length} characters; the limit is 255`;
  return UNPRINTABLE.test(name) ? "has characters that cannot be shown" : undefined;
}

/** Why the text cannot be a task id; undefined if it can. */
export function idProblem(id: unknown): string | undefined {
  if (typeof id !== "string") return "is not text";
  if (id === "") return "is empty";
  if (id.length > MAX_SHORT_BYTES || Buffer.byteLength(id) > MAX_SHORT_BYTES) {
    return `is longer than ${MAX_SHORT_BYTES} bytes`;
  }
  return UNPRINTABLE.test(id) ? "has characters that cannot be shown" : undefined;
}
