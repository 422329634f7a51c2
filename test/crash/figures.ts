/** The figures of a history: what a campaign publishes beside its verdicts. Pure. */
import { boundOf } from "./checker.ts";
import type { CancelCall, Fault, History } from "./history.ts";
import type { RunLine } from "./ledger.ts";

/** Cancels issued so close to the due time are a race. */
export const RACE_MS = 5;

const SET_RIGHT: ReadonlySet<Fault["what"]> = new Set(["continue", "disk-freed", "ready"]);

export interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface Figures {
  readonly acknowledged: number;
  readonly refused: number;
  readonly unknown: number;
  readonly started: number;
  /** Starts of callbacks that had started before and did not ask for it, and how many the faults allow. */
  readonly repeated: number;
  readonly bound: number;
  readonly cancels: number;
  readonly answers: Readonly<Record<string, number>>;
  /** Of these, those issued within ±5 ms of the due time, and what they were answered. */
  readonly raced: number;
  readonly racedAnswers: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  /** From a fault to the next start of what it interrupted, ms. */
  readonly recovery: Spread;
  /** The same, of faults at which another worker served, and after which no other came before that start. */
  readonly undisturbed: Spread;
  /** From the due time to the first start, ms. */
  readonly lateness: Spread;
  /** Callbacks of which a run still went on when the next one began. */
  readonly overlapped: number;
}

export function figuresOf({ calls, runs, faults }: History): Figures {
  const schedules = calls.filter((call) => call.op === "schedule");
  const cancels = calls.filter((call) => call.op === "cancel");
  const raced = cancels.filter(({ invokedMs, dueMs }) => Math.abs(invokedMs - dueMs) <= RACE_MS);
  const dueOf = new Map(schedules.map(({ name, dueMs }) => [name, dueMs]));
  const startsOf = new Map<string, RunLine[]>();
  for (const run of runs) {
    if (run.what !== "start") continue;
    const starts = startsOf.get(run.id);
    if (starts === undefined) startsOf.set(run.id, [run]);
    else starts.push(run);
  }
  const starts = [...startsOf.values()];
  const recovered = recoveries(runs, startsOf, faults);
  const again = new Set(schedules.flatMap((call) => (call.again === true ? [call.name] : [])));
  return {
    acknowledged: schedules.filter(({ outcome }) => outcome === "ok").length,
    refused: schedules.filter(({ outcome }) => outcome === "fail").length,
    unknown: schedules.filter(({ outcome }) => outcome === "unknown").length,
    started: starts.length,
    repeated: starts.reduce(
      (sum, runs) => sum + Math.max(0, runs.length - (again.has(runs[0]?.name ?? "") ? 2 : 1)),
      0,
    ),
    bound: boundOf(faults),
    cancels: cancels.length,
    answers: answersOf(cancels),
    raced: raced.length,
    racedAnswers: answersOf(raced),
    faults: countBy(faults.filter(({ what }) => !SET_RIGHT.has(what)).map(({ what }) => what)),
    recovery: spreadOf(recovered.map(({ tookMs }) => tookMs)),
    undisturbed: spreadOf(recovered.flatMap((each) => (isUndisturbed(each, faults) ? [each.tookMs] : []))),
    lateness: spreadOf(
      starts.flatMap(([first]) => {
        const dueMs = first === undefined ? undefined : dueOf.get(first.name);
        return first === undefined || dueMs === undefined ? [] : [first.wallMs - dueMs];
      }),
    ),
    overlapped: overlapsOf(runs, startsOf),
  };
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)] ?? 0;
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? 0 };
}

function answersOf(cancels: readonly CancelCall[]): Record<string, number> {
  return countBy(cancels.map(({ answer, outcome, code }) => answer ?? code ?? outcome));
}

function countBy(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}

interface Recovered {
  readonly fault: Fault;
  readonly tookMs: number;
}

function isUndisturbed({ fault, tookMs }: Recovered, faults: History["faults"]): boolean {
  const untilMs = fault.wallMs + tookMs;
  const isFurther = (other: Fault) =>
    !SET_RIGHT.has(other.what) && other.wallMs >= fault.wallMs && other.wallMs < untilMs;
  return (fault.standing ?? 0) > 0 && !faults.some((other) => other !== fault && isFurther(other));
}

/** For each run that a fault cut off: how long until its callback started again. */
function recoveries(
  runs: readonly RunLine[],
  startsOf: ReadonlyMap<string, readonly RunLine[]>,
  faults: History["faults"],
): Recovered[] {
  const ended = new Set(runs.filter(({ what }) => what === "end").map(({ id, token }) => `${id} ${token}`));
  const faultOf = new Map<number, Fault>();
  for (const fault of faults) {
    if (fault.what.startsWith("kill")) for (const pid of fault.pids) faultOf.set(pid, fault);
  }
  const found: Recovered[] = [];
  for (const starts of startsOf.values()) {
    for (const [i, start] of starts.entries()) {
      const fault = faultOf.get(start.pid);
      const next = starts[i + 1];
      if (fault === undefined || next === undefined || ended.has(`${start.id} ${start.token}`)) continue;
      const { wallMs } = fault;
      if (start.wallMs <= wallMs && next.wallMs >= wallMs) found.push({ fault, tookMs: next.wallMs - wallMs });
    }
  }
  return found;
}

function overlapsOf(runs: readonly RunLine[], startsOf: ReadonlyMap<string, readonly RunLine[]>): number {
  const endOf = new Map(
    runs.flatMap(({ what, id, token, wallMs }) => (what === "end" ? [[`${id} ${token}`, wallMs]] : [])),
  );
  let overlapped = 0;
  for (const starts of startsOf.values()) {
    const overlaps = starts.some((start, i) => {
      const endMs = endOf.get(`${start.id} ${start.token}`);
      const next = starts[i + 1];
      return endMs !== undefined && next !== undefined && endMs > next.wallMs;
    });
    if (overlaps) overlapped += 1;
  }
  return overlapped;
}
