/** How callers say which callbacks they mean: the filter of `list`, `listPage` and `cancelAll`, read and checked once. */
import { InvalidInputError } from "../kit/errors.ts";
import { type Moment, parseMomentMs } from "../kit/moment.ts";
import { suggest } from "../kit/options.ts";
import { textOf } from "../kit/printable.ts";
import type { Ask } from "../pool/asks.ts";
import type { CallbackState } from "../schedule/callback.ts";
import type { ListQuery } from "../schedule/store.ts";
import { firstFound, type Ref, targetsOf } from "./refs.ts";
import { UnknownRecurrenceError } from "./schedule-errors.ts";

/** Which callbacks; all that is given must hold. */
export interface CallbackFilter {
  /** Default: those that have not ended ("scheduled", "waiting", "running"). */
  readonly states?: readonly CallbackState[];
  /** Task name; `*` stands for any characters: "shop.*". */
  readonly task?: string;
  readonly keyPrefix?: string;
  /** Those that carry all of these tags. */
  readonly tags?: readonly string[];
  readonly queue?: string;
  /** The occurrences of this recurrence: its id, or its key. */
  readonly recurrence?: Ref;
  /** Due then or later: a Date, or ISO 8601 with offset (or with `timezone`). */
  readonly dueFrom?: Moment;
  /** Due before then. */
  readonly dueBefore?: Moment;
  /** IANA zone of `dueFrom` and `dueBefore` without an offset. */
  readonly timezone?: string;
}

export interface PageOptions extends CallbackFilter {
  /** `next` of the page before; absent: the first page. */
  readonly cursor?: string;
  /** How many on a page: 1 … 1,000. Default 100. */
  readonly limit?: number;
}

const FILTER_NAMES = [
  "states",
  "task",
  "keyPrefix",
  "tags",
  "queue",
  "recurrence",
  "dueFrom",
  "dueBefore",
  "timezone",
] as const satisfies readonly (keyof CallbackFilter)[];
const PAGE_NAMES = [...FILTER_NAMES, "cursor", "limit"];
const LIVE: readonly CallbackState[] = ["scheduled", "waiting", "running"];

type Where = Omit<ListQuery, "limit" | "cursor">;

/**
 * The filter as a store takes it. A name that is not one of a filter's is refused, as a misspelt one would widen it.
 * @throws {InvalidInputError}
 * @throws {UnknownRecurrenceError}
 */
export async function whereOf(filter: CallbackFilter, ask: Ask, what: string): Promise<Where> {
  checkNames(filter, FILTER_NAMES, what);
  const { states = LIVE, task, keyPrefix, tags, queue, recurrence, dueFrom, dueBefore, timezone } = filter;
  checkList(states, "states");
  if (tags !== undefined) checkList(tags, "tags");
  const zone = timezone === undefined ? {} : { timezone };
  const where: Where = {
    states,
    ...(task === undefined ? {} : { task }),
    ...(keyPrefix === undefined ? {} : { keyPrefix }),
    ...(tags === undefined ? {} : { tags }),
    ...(queue === undefined ? {} : { queue }),
    ...(dueFrom === undefined ? {} : { dueFromMs: parseMomentMs(dueFrom, { what: "dueFrom", ...zone }) }),
    ...(dueBefore === undefined ? {} : { dueBeforeMs: parseMomentMs(dueBefore, { what: "dueBefore", ...zone }) }),
  };
  return recurrence === undefined ? where : { ...where, recurrence: await recurrenceId(recurrence, ask) };
}

/** The page that a caller asks for. @throws {InvalidInputError} */
export async function pageQueryOf(options: PageOptions, ask: Ask): Promise<ListQuery> {
  checkNames(options, PAGE_NAMES, "listPage");
  const { cursor, limit = 100, ...filter } = options;
  return { ...(await whereOf(filter, ask, "listPage")), limit, ...(cursor === undefined ? {} : { cursor }) };
}

/**
 * Whether it leaves out any live callback. `states` alone does not count: "all that wait" is everything. Nor do what every callback
 * fulfils: no tags, an empty prefix, the task "*".
 */
export function narrows({ task, keyPrefix, tags, queue, recurrence, dueFrom, dueBefore }: CallbackFilter): boolean {
  return (
    (task !== undefined && !/^\*+$/.test(task)) ||
    (keyPrefix !== undefined && keyPrefix !== "") ||
    (tags !== undefined && tags.length > 0) ||
    queue !== undefined ||
    recurrence !== undefined ||
    dueFrom !== undefined ||
    dueBefore !== undefined
  );
}

/** @throws {InvalidInputError} a value was to come from somewhere, and did not: without it the filter would be wider than meant */
export function refuseUndefined(filter: CallbackFilter, what: string): void {
  checkNames(filter, FILTER_NAMES, what);
  const missing = Object.entries(filter).find(([, value]) => value === undefined || value === null);
  if (missing === undefined) return;
  throw new InvalidInputError(`${what} was given ${missing[0]}: ${missing[1]}; give its value, or leave the name out`);
}

async function recurrenceId(ref: Ref, ask: Ask): Promise<string> {
  const found = await firstFound(targetsOf(ref), (target) => ask("recurrence.get", { target }));
  if (found === undefined) throw new UnknownRecurrenceError(ref);
  return found.id;
}

function checkNames(given: object, names: readonly string[], what: string): void {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new InvalidInputError(`${what} takes an object of filters, not ${textOf(given, 80)}`);
  }
  const wrong = Object.keys(given).find((name) => !names.includes(name));
  if (wrong === undefined) return;
  throw new InvalidInputError(
    `${what} has no filter ${JSON.stringify(textOf(wrong, 80))}${suggest(wrong, names) || `: use ${names.join(", ")}`}`,
  );
}

function checkList(value: unknown, what: string): void {
  if (Array.isArray(value) && value.every((each) => typeof each === "string")) return;
  throw new InvalidInputError(`${what} must be a list of texts, not ${textOf(value, 80)}`);
}
