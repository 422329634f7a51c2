/**
 * The verdicts on a history: each is one promise of the schedule, and what in the history breaks it. Pure: told what happened, by those
 * who saw it, and never by what is tested (but for its own last word, the dump, which is held against all the others).
 */
import { type CallbackState, isLive } from "../../src/schedule/callback.ts";
import type { CancelCall, History, Row, ScheduleCall } from "./history.ts";
import type { RunLine } from "./ledger.ts";
import { unmatched } from "./matching.ts";

export interface Verdict {
  readonly name: string;
  /** What must hold. */
  readonly rule: string;
  /** What breaks it; empty: it holds. */
  readonly broken: readonly string[];
}

/** A server that was killed is away for so long at most. */
const AWAY_MS = 15_000;

/** Ends of a callback that was not to start, or not again: nothing is missing when it did not. */
const TAKEN_BACK: ReadonlySet<CallbackState> = new Set(["cancelled", "stopped", "expired", "skipped"]);

export function judge(history: History): Verdict[] {
  const seen = new Sorted(history);
  return [
    verdict("V1", "what was acknowledged, and not taken back, has started and succeeded", lost(seen)),
    verdict("V2", "nothing starts before it is due", early(history, seen)),
    verdict("V3", "what was answered with cancelled never starts, and with stopped not again", untruthful(seen)),
    verdict("V4", "what was refused does not exist, and does not start", fromRefusal(seen)),
    verdict(
      "V5",
      "one start for each token, none without a claim, no more repeated than the faults allow",
      repeated(history, seen),
    ),
    verdict("V6", "one end for each callback, the same for everybody who was told", contradicted(history, seen)),
    verdict("V7", "what recurs starts once for each nominal time", unrecurring(history, seen)),
    verdict("V8", "all is quiet again soon after the last fault", late(history, seen)),
    verdict("V9", "the sums agree: nothing is dropped, nothing comes from nowhere", wrongSums(history, seen)),
    verdict("V10", "no process is left over", history.orphans),
    verdict("V11", "no worker ends by itself, but while its store is away", exited(history)),
  ];
}

/** Whether nothing is broken. */
export function allHold(verdicts: readonly Verdict[]): boolean {
  return verdicts.every(({ broken }) => broken.length === 0);
}

function verdict(name: string, rule: string, broken: readonly string[]): Verdict {
  return { name, rule, broken };
}

/** The history by callback. */
class Sorted {
  readonly rows = new Map<string, Row>();
  readonly starts = new Map<string, RunLine[]>();
  /** When each run came to its end, by its callback and token. */
  readonly ends = new Map<string, number>();
  readonly schedules: readonly ScheduleCall[];
  readonly cancels: readonly CancelCall[];
  /** Each name that the client gave, with the calls that were made for it. */
  readonly callsOf = new Map<string, ScheduleCall[]>();
  readonly cancelled = new Set<string>();
  #byKey: Map<string | undefined, Row[]> | undefined;

  constructor(history: History) {
    for (const row of history.dump) this.rows.set(row.id, row);
    for (const run of history.runs) {
      if (run.what === "end") this.ends.set(runName(run.id, run.token), run.wallMs);
      else push(this.starts, run.id, run);
    }
    this.schedules = history.calls.filter((call) => call.op === "schedule");
    this.cancels = history.calls.filter((call) => call.op === "cancel");
    for (const call of this.schedules) push(this.callsOf, call.name, call);
    for (const call of this.cancels) if (call.outcome !== "fail") this.cancelled.add(call.name);
  }

  /** The callback that a cancel was answered for: by its id, or, where the client was never told one, the only one with the key. */
  idOf({ id, name }: CancelCall): string | undefined {
    if (id !== undefined) return id;
    this.#byKey ??= Map.groupBy(this.rows.values(), ({ key }) => key);
    const rows = this.#byKey.get(name) ?? [];
    return rows.length === 1 ? rows[0]?.id : undefined;
  }
}

function lost({ schedules, rows, starts, cancelled }: Sorted): string[] {
  const broken: string[] = [];
  for (const { name, id = "", outcome } of schedules) {
    if (outcome !== "ok") continue;
    const row = rows.get(id);
    if (row === undefined) broken.push(`${name} (${id}) was acknowledged, and the store has no row of it`);
    else if (TAKEN_BACK.has(row.state)) {
      const asked = cancelled.has(name) || (row.state !== "cancelled" && row.state !== "stopped");
      if (!asked) broken.push(`${name} (${id}) is ${row.state}, and nobody cancelled it`);
    } else if (row.state !== "succeeded") broken.push(`${name} (${id}) was acknowledged, and is ${row.state}`);
    else if ((starts.get(id)?.length ?? 0) === 0)
      broken.push(`${name} (${id}) is succeeded, and its handler never started`);
  }
  return broken;
}

function early({ clockOffsetMs }: History, { callsOf, starts }: Sorted): string[] {
  const broken: string[] = [];
  for (const [id, runs] of starts) {
    for (const { name, wallMs } of runs) {
      // One that was asked for again, after no answer, is the callback of the first call.
      const calls = callsOf.get(name)?.filter(({ outcome }) => outcome !== "fail") ?? [];
      const dueMs = Math.min(...calls.map((call) => call.dueMs));
      const earlyMs = dueMs - (wallMs + clockOffsetMs);
      if (calls.length > 0 && earlyMs > 0) broken.push(`${name} (${id}) started ${earlyMs} ms before it was due`);
    }
  }
  return broken;
}

function untruthful(seen: Sorted): string[] {
  const { cancels, starts } = seen;
  const broken: string[] = [];
  for (const cancel of cancels) {
    const { name, answer, answeredMs } = cancel;
    const id = seen.idOf(cancel);
    if (id === undefined) continue;
    const started = starts.get(id) ?? [];
    if (answer === "cancelled" && started.length > 0) {
      broken.push(`${name} (${id}) was answered with cancelled, and started ${started.length} times`);
    }
    if (answer === "stopped" && started.some((start) => start.wallMs > answeredMs)) {
      broken.push(`${name} (${id}) was answered with stopped, and started after that`);
    }
  }
  return broken;
}

function fromRefusal({ callsOf, rows, starts }: Sorted): string[] {
  const refused = new Set(
    [...callsOf].filter(([, calls]) => calls.every(({ outcome }) => outcome === "fail")).map(([name]) => name),
  );
  const broken = [...rows.values()]
    .filter(({ key }) => key !== undefined && refused.has(key))
    .map(({ key, id }) => `${key} was refused, and the store has it as ${id}`);
  for (const [id, [start]] of starts) {
    if (start !== undefined && refused.has(start.name)) broken.push(`${start.name} was refused, and started as ${id}`);
  }
  return broken;
}

function repeated({ faults }: History, { starts, rows, callsOf }: Sorted): string[] {
  const broken: string[] = [];
  let more = 0;
  for (const [id, runs] of starts) {
    const tokens = new Set(runs.map(({ token }) => token));
    if (tokens.size < runs.length) broken.push(`${id} started twice under one token`);
    const row = rows.get(id);
    if (row !== undefined && runs.length > row.attempts) {
      broken.push(`${id} started ${runs.length} times, with ${row.attempts} claims`);
    }
    if (row !== undefined && runs.some(({ token }) => token > row.token)) {
      broken.push(`${id} started under a token that its row, at ${row.token}, never had`);
    }
    const again = callsOf.get(runs[0]?.name ?? "")?.some((call) => call.again === true) ?? false;
    more += Math.max(0, runs.length - (again ? 2 : 1));
  }
  const bound = boundOf(faults);
  if (more > bound) broken.push(`${more} starts were repeated, and the faults allow ${bound}`);
  return broken;
}

/** How many starts may be repeated for these faults. */
export function boundOf(faults: History["faults"]): number {
  return faults.reduce((sum, { mayRepeat }) => sum + mayRepeat, 0);
}

function contradicted({ dump, clockOffsetMs }: History, seen: Sorted): string[] {
  const { rows, starts, ends, cancels, schedules } = seen;
  const broken: string[] = [];
  if (rows.size < dump.length) broken.push(`${dump.length - rows.size} rows of the store have the id of another`);
  for (const row of dump) {
    const { id, key, state, attempts } = row;
    const started = starts.get(id)?.length ?? 0;
    if (isLive(state)) broken.push(`${key} (${id}) has not ended: ${state} after ${attempts} attempts`);
    else if (state === "succeeded") broken.push(...wrongSuccess(row, ends.get(runName(id, row.token)), clockOffsetMs));
    else if (started > 0 && (state === "cancelled" || state === "expired" || state === "skipped")) {
      broken.push(`${key} (${id}) is ${state}, and started`);
    }
  }
  for (const cancel of cancels) {
    const { name, answer } = cancel;
    const row = rows.get(seen.idOf(cancel) ?? "");
    if ((answer === "cancelled" || answer === "stopped") && row?.state !== answer) {
      broken.push(`cancel of ${name} answered ${answer}, and it is ${row?.state ?? "unknown"}`);
    }
    if (answer === "running" && row !== undefined && row.attempts === 0) {
      broken.push(`cancel of ${name} answered running, and it was never claimed`);
    }
  }
  for (const { name, id, outcome, dueMs, put } of schedules) {
    const row = id === undefined ? undefined : rows.get(id);
    if (outcome !== "ok" || row === undefined) continue;
    if (row.key !== name) broken.push(`${name} was acknowledged as ${id}, which is the callback of ${row.key}`);
    // One that was lost and given back is due anew.
    else if (put === "added" && row.attempts === 0 && row.dueMs !== dueMs)
      broken.push(`${name} (${id}) is due at another time than was asked`);
  }
  return broken;
}

/** @param endMs when the handler that ran under the row's token came to its end */
function wrongSuccess({ id, key, token, endedMs }: Row, endMs: number | undefined, clockOffsetMs: number): string[] {
  const what = `${key} (${id}) is succeeded under token ${token}`;
  if (endMs === undefined) return [`${what}, and no handler came to its end under it`];
  // Both clocks tell whole milliseconds.
  const early = endedMs !== undefined && endedMs + 1 < endMs + clockOffsetMs;
  return early ? [`${what}, and was so before its handler came to its end`] : [];
}

function unrecurring({ recurring = [] }: History, { starts }: Sorted): string[] {
  const firsts = [...starts.values()].flatMap((runs) => runs.slice(0, 1));
  return recurring.flatMap(({ name, nominalMs, withinMs }) => {
    // Each occurrence once: what a fault repeated is judged by V5.
    const startsMs = firsts.filter((run) => run.name === name).map(({ wallMs }) => wallMs);
    const { missed, extra } = unmatched(nominalMs, startsMs, withinMs);
    return [
      ...missed.map((ms) => `${name} did not start for ${new Date(ms).toISOString()}`),
      ...extra.map((ms) => `${name} started at ${new Date(ms).toISOString()} for no nominal time`),
    ];
  });
}

function late({ settleMs, faults }: History, { schedules, starts }: Sorted): string[] {
  if (settleMs === undefined) return [];
  const lastFaultMs = faults.reduce((last, { wallMs }) => Math.max(last, wallMs), 0);
  const broken: string[] = [];
  for (const { name, id = "", dueMs } of schedules) {
    const first = starts.get(id)?.[0];
    if (first === undefined) continue;
    const lateMs = first.wallMs - Math.max(dueMs, lastFaultMs);
    if (lateMs > settleMs)
      broken.push(`${name} (${id}) started ${lateMs} ms after it was due and the last fault was over`);
  }
  return broken;
}

function wrongSums({ dump, counts, recurring = [] }: History, { callsOf, starts, rows }: Sorted): string[] {
  const broken: string[] = [];
  const counted = new Map<CallbackState, number>();
  for (const { state } of dump) counted.set(state, (counted.get(state) ?? 0) + 1);
  for (const state of new Set([...counted.keys(), ...(Object.keys(counts) as CallbackState[])])) {
    const [own, real] = [counts[state] ?? 0, counted.get(state) ?? 0];
    if (own !== real) broken.push(`the store counts ${own} ${state}, and has ${real}`);
  }
  const recurs = new Set(recurring.map(({ name }) => name));
  for (const { id, key } of dump) {
    if (key !== undefined && !callsOf.has(key))
      broken.push(`the store has ${id} with the key ${key}, which nobody asked for`);
  }
  for (const [id, [start]] of starts) {
    if (start === undefined || recurs.has(start.name)) continue;
    if (!rows.has(id)) broken.push(`${start.name} (${id}) started, and the store has no row of it`);
    if (!callsOf.has(start.name)) broken.push(`${start.name} (${id}) started, and nobody asked for it`);
  }
  return broken;
}

function exited({ faults }: History): string[] {
  return faults
    .filter(({ what, wallMs }) => what === "exit" && !faults.some((other) => isAway(other, wallMs)))
    .map(({ who, wallMs }) => `${who} ended by itself at ${new Date(wallMs).toISOString()}`);
}

function isAway({ what, wallMs }: History["faults"][number], atMs: number): boolean {
  return what === "server-kill" && atMs >= wallMs && atMs <= wallMs + AWAY_MS;
}

function runName(id: string, token: number): string {
  return `${id} ${token}`;
}

function push<Value>(map: Map<string, Value[]>, key: string, value: Value): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
