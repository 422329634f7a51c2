/**
 * What is wrong with a world at its end, if anything: what clients were told, what handlers wrote down and what the store holds, held
 * against each other. V1-V9 are those of the kill tests, I those of docs/semantics.md.
 */
import type { Callback } from "../../src/schedule/callback.ts";
import { isLive } from "../../src/schedule/callback.ts";
import { evaluatorOf } from "../../src/schedule/recurrence/rule.ts";
import type { Recurrence } from "../../src/schedule/recurrence.ts";
import type { History, PutRecord } from "./history.ts";
import type { Ledger, LedgerStart } from "./ledger.ts";
import type { Watched } from "./watch.ts";

/** A child needs so long from the word to the handler's first instruction. */
const FORK_MS = 1;

export interface Evidence {
  readonly history: History;
  readonly ledger: Ledger;
  readonly watched: Watched;
  readonly rows: readonly Callback[];
  readonly recurrences: readonly Recurrence[];
  readonly storeNowMs: number;
  /** No fault that can cost a lease: each runs exactly as often as it asked for. */
  readonly isCalm: boolean;
  /** Live rows that are due for so long are wrong. */
  readonly graceMs: number;
  readonly longestRunMs: number;
  /** How late a start may be in a world in which nothing goes wrong but hints that are lost and clocks that are wrong. */
  readonly mostLateMs: number;
  /** Rows past retention may be gone. */
  readonly forgets: boolean;
  /** Every clock runs as it should: who holds a lease knows it. */
  readonly isTimely: boolean;
  readonly wrong: (what: string) => void;
}

export async function judge(evidence: Evidence): Promise<void> {
  const { rows, ledger, wrong } = evidence;
  const byId = new Map(rows.map((row) => [row.id, row]));
  const starts = new Map<string, LedgerStart[]>();
  const runs = new Set<string>();
  for (const start of ledger.starts) {
    starts.set(start.id, [...(starts.get(start.id) ?? []), start]);
    const run = `${start.id}/${start.token}`;
    if (runs.has(run)) wrong(`I10: ${run} started twice`);
    runs.add(run);
    if (!evidence.watched.claimed.has(run)) wrong(`${run} started without a claim`);
  }
  for (const row of rows) judgeRow(evidence, row, starts.get(row.id) ?? []);
  judgePuts(evidence, byId, new Set(ledger.starts.map(({ mark }) => mark)));
  for (const id of evidence.history.cancelled) {
    const of = [id, ...rows.filter((row) => row.occurrence?.recurrence === id).map((row) => row.id)];
    for (const each of of) if (starts.has(each)) wrong(`V3: ${each} started, and its cancel had been promised`);
  }
  for (const [id, all] of starts) {
    if (!byId.has(id) && !evidence.forgets) wrong(`V6: ${id} started (${all.length}) and is not in the store`);
  }
  await judgeRecurrences(evidence);
}

function judgeRow(evidence: Evidence, row: Callback, starts: readonly LedgerStart[]): void {
  const { wrong, ledger, watched, storeNowMs, graceMs, longestRunMs } = evidence;
  const { id, state, attempts, token } = row;
  const succeeded = starts.filter((start) => ledger.ends.get(`${id}/${start.token}`) === "succeeded");
  if (starts.length > attempts) wrong(`V5: ${id} started ${starts.length} times in ${attempts} attempts`);
  const stoppedMs = watched.stopped.get(id) ?? Number.POSITIVE_INFINITY;
  const after = starts.find(({ atMs }) => atMs > stoppedMs + FORK_MS);
  if (evidence.isTimely && after !== undefined) {
    wrong(`V3: ${id} started ${(after.atMs - stoppedMs).toFixed(1)} ms after "stopped" was answered`);
  }
  if (state === "succeeded") {
    if (!succeeded.some((start) => start.token === token)) wrong(`V1: ${id} succeeded, and no handler of it did`);
  } else if (!isLive(state) && watched.settled.get(`${id}/${token}`) === "succeeded") {
    wrong(`V6: ${id} was settled as succeeded and is ${state}`);
  }
  if ((state === "scheduled" || state === "waiting") && row.dueMs < storeNowMs - graceMs) {
    wrong(`V1: ${id} is ${state}, due for ${storeNowMs - row.dueMs} ms`);
  }
  if (state === "running" && storeNowMs - (row.claimedMs ?? 0) > longestRunMs + graceMs) {
    wrong(`V1: ${id} is running since ${storeNowMs - (row.claimedMs ?? 0)} ms`);
  }
  for (const { storeMs } of starts) judgeLateness(evidence, row, storeMs);
  if (evidence.isCalm && attempts > 1) wrong(`V5: ${id} was claimed ${attempts} times in a calm world`);
  if (evidence.isCalm && state === "succeeded" && starts.length !== 1) {
    wrong(`V5: ${id} started ${starts.length} times in a calm world`);
  }
}

/** I9. Of those that were not moved: counted from when they were due, or put, if that was later. */
function judgeLateness({ history, mostLateMs, wrong }: Evidence, row: Callback, startedMs: number): void {
  const { id, key, dueMs, createdMs } = row;
  // One with a key may have been replaced by another call, too.
  if (history.moved.has(id) || key !== undefined) return;
  const lateMs = startedMs - Math.max(dueMs, createdMs);
  if (lateMs > mostLateMs) wrong(`G9: ${id} started ${lateMs} ms late, where ${Math.round(mostLateMs)} is the most`);
}

function judgePuts(
  { history, wrong, forgets }: Evidence,
  byId: ReadonlyMap<string, Callback>,
  startedMarks: ReadonlySet<string>,
): void {
  for (const record of history.puts.values()) {
    const { mark, answers, id } = record;
    // Still on its way at the end, it may go either way too.
    const isDefinite = answers.length > 0 && !answers.includes("unknown");
    if (isDefinite && !answers.some((each) => each === "added" || each === "replaced") && startedMarks.has(mark)) {
      wrong(`V4: ${mark} started, and was answered ${answers.join(", ")}`);
    }
    if (id === undefined || forgets) continue;
    const row = byId.get(id);
    if (row === undefined) wrong(`I12: ${mark} was acknowledged as ${id}, and is lost`);
    else if (answers.includes("added")) judgeTakenBack(history, record, row, wrong);
  }
}

/** Nothing is cancelled that nobody took back. */
function judgeTakenBack(
  history: History,
  { callback, mark }: PutRecord,
  row: Callback,
  wrong: Evidence["wrong"],
): void {
  if (row.state !== "cancelled" && row.state !== "stopped") return;
  const names = [row.key, callback.key, row.taskId, callback.taskId].filter((name) => name !== undefined);
  if (history.takenBack.has(row.id) || names.some((name) => history.takenBackKeys.has(name))) return;
  wrong(`${mark} (${row.id}) is ${row.state}, and nobody took it back`);
}

async function judgeRecurrences({ history, rows, recurrences, storeNowMs, graceMs, wrong }: Evidence): Promise<void> {
  const seen = new Set<string>();
  for (const { id, occurrence, message } of rows) {
    if (occurrence === undefined) continue;
    const { recurrence, generation, nominalMs } = occurrence;
    const definition = history.definitions.get(message.body);
    if (definition === undefined) wrong(`V7: ${id} is an occurrence of what nobody asked for`);
    else if ((await evaluatorOf(definition)).newestUpTo(nominalMs) !== nominalMs) {
      wrong(`V7: ${id} has the nominal time ${nominalMs}, which its rule does not name`);
    }
    const name = `${recurrence}/${generation}/${nominalMs}`;
    if (seen.has(name)) wrong(`G12: two rows for the occurrence ${name}, one of them ${id}`);
    seen.add(name);
  }
  for (const { id, state, nextMs, generation } of recurrences) {
    if (state !== "active") continue;
    if (nextMs === undefined) wrong(`${id} is active, and nothing comes next`);
    else if (nextMs < storeNowMs - graceMs) wrong(`V7: ${id} was not advanced for ${storeNowMs - nextMs} ms`);
    else if (!seen.has(`${id}/${generation}/${nextMs}`)) wrong(`V7: ${id} comes next at ${nextMs}, without a row`);
  }
}
