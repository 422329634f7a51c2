/**
 * Options checked once, at the door, by the module that owns them, with every wrong one named in one error: who corrects a
 * configuration wants the whole list, not one item a try.
 *
 * ```ts
 * const options = checkOptions("pool", given, { concurrency: whole({ min: 1 }), timeLimit: duration() });
 * ```
 */
import { type Duration, parseDurationMs } from "./duration.ts";
import { InvalidConfigError, messageOf } from "./errors.ts";
import { textOf } from "./printable.ts";

/** Reads one option. @throws {Error} its message names the option and the rule */
export type Rule<T> = (value: unknown, name: string) => T;
export type Rules = Readonly<Record<string, Rule<unknown>>>;
/** What is left out, or undefined, is left out of the answer too. */
export type Checked<R extends Rules> = { readonly [K in keyof R]?: R[K] extends Rule<infer T> ? T : never };

/**
 * @param what owner of the options, for the error: "pool"
 * @throws {InvalidConfigError} names every option that is unknown or wrong
 */
export function checkOptions<R extends Rules>(what: string, given: unknown, rules: R): Checked<R> {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new InvalidConfigError([`the options of ${what} must be an object, not ${textOf(given, 80)}`]);
  }
  const problems: string[] = [];
  const checked: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) {
      problems.push(`${what} has no option ${textOf(JSON.stringify(name), 80)}${suggest(name, Object.keys(rules))}`);
    } else if (value !== undefined) {
      try {
        checked[name] = rule(value, name);
      } catch (error) {
        problems.push(messageOf(error));
      }
    }
  }
  if (problems.length > 0) throw new InvalidConfigError(problems);
  return checked as Checked<R>;
}

export function flag(): Rule<boolean> {
  return (value, name) => (typeof value === "boolean" ? value : fail(name, value, "must be true or false"));
}

/** A whole number from `min` (default 0) to `max`. */
export function whole(range: { readonly min?: number; readonly max?: number } = {}): Rule<number> {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = range;
  const bounds = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  return (value, name) =>
    typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max
      ? value
      : fail(name, value, `must be a whole number ${bounds}`);
}

export function text(): Rule<string> {
  return (value, name) =>
    typeof value === "string" && value !== "" ? value : fail(name, value, "must be a non-empty text");
}

export function oneOf<const T extends string>(...allowed: readonly T[]): Rule<T> {
  return (value, name) => {
    const found = allowed.find((each) => each === value);
    if (found !== undefined) return found;
    return fail(name, value, `must be ${allowed.map((each) => JSON.stringify(each)).join(" or ")}`, allowed);
  };
}

/** Seconds or text with a unit, as milliseconds. */
export function duration(): Rule<number> {
  return (value, name) => parseDurationMs(value as Duration, name);
}

export function listOf<T>(rule: Rule<T>): Rule<readonly T[]> {
  return (value, name) =>
    Array.isArray(value) ? value.map((item, i) => rule(item, `${name}[${i}]`)) : fail(name, value, "must be a list");
}

/** `; did you mean "concurrency"?` for a name that is close to one of the candidates, else "". */
export function suggest(name: string, candidates: readonly string[]): string {
  const wanted = fold(name);
  // A whole word of difference is another word.
  const limit = Math.min(3, Math.floor(wanted.length / 3) + 1);
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, fold(candidate), bestDistance);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best === undefined ? "" : `; did you mean ${JSON.stringify(best)}?`;
}

function fail(name: string, value: unknown, rule: string, allowed: readonly string[] = []): never {
  const shown = textOf(value, 80);
  const near = typeof value === "string" ? suggest(value, allowed) : "";
  throw new TypeError(`${name} ${rule}; it was ${typeof value === "string" ? JSON.stringify(shown) : shown}${near}`);
}

/** Case and the joints of words are what people get wrong most: they count nothing. */
function fold(name: string): string {
  return name
    .slice(0, 64)
    .toLowerCase()
    .replace(/[-_.\s]/g, "");
}

/** Insertions, deletions, replacements and swaps of neighbours between the two; `limit` or more is all the same. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(least);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length] ?? limit;
}
