/**
 * What a timer in memory costs: the worker's timer, the heap under it, and `setTimeout`; and how late the hub is.
 * Each rate is the median of `BENCH_ROUNDS` rounds, after one to warm up.
 *
 *     node --conditions=lovage-source --expose-gc bench/timers.ts [entries]
 */
import { DeadlineHeap, type Handle } from "../src/hub/heap.ts";
import { Hub } from "../src/hub/hub.ts";
import { Timer } from "../src/hub/timer.ts";
import { systemClock } from "../src/kit/clock.ts";
import { silentLogger } from "../src/kit/log.ts";

const ENTRIES = Number(process.argv[2] ?? 1_000_000);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const LATENESS_ENTRIES = 5_000;
const LATENESS_SPAN_MS = 10_000;

interface Kind<E> {
  readonly add: (atMs: number) => E;
  readonly cancel: (entry: E) => unknown;
}

function measure<E>(name: string, make: () => Kind<E>): void {
  const rounds = Array.from({ length: ROUNDS + 1 }, () => round(make())).slice(1);
  const median = (of: (each: (typeof rounds)[number]) => number) =>
    rounds.map(of).toSorted((a, b) => a - b)[ROUNDS >> 1] ?? Number.NaN;
  const cells = [median((r) => r.addsPerS), median((r) => r.cancelsPerS), median((r) => r.bytes)];
  console.log(
    `| ${name} | ${cells.map((cell, i) => (i < 2 ? (cell / 1e6).toFixed(2) : cell.toFixed(0))).join(" | ")} |`,
  );
}

function round<E>({ add, cancel }: Kind<E>): { addsPerS: number; cancelsPerS: number; bytes: number } {
  const entries = new Array<E | undefined>(ENTRIES).fill(undefined);
  const before = memory();
  const addMs = timed((i) => {
    // Spread over a day, in no order; far enough that none is due meanwhile.
    entries[i] = add(600_000 + ((i * 7_919) % 86_400_000));
  });
  const bytes = (memory() - before) / ENTRIES;
  const cancelMs = timed((i) => cancel(entries[i] as E));
  return { addsPerS: (ENTRIES / addMs) * 1_000, cancelsPerS: (ENTRIES / cancelMs) * 1_000, bytes };
}

function timed(each: (i: number) => void): number {
  const startMs = performance.now();
  for (let i = 0; i < ENTRIES; i++) each(i);
  return performance.now() - startMs;
}

function memory(): number {
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const noop = () => {};
const newHub = (ref = false) => new Hub({ clock: systemClock, log: silentLogger, ref });

console.log(`${ENTRIES.toLocaleString("en")} entries, Node ${process.version}, median of ${ROUNDS}`);
console.log("| | adds, M/s | cancels, M/s | bytes each |\n|---|---:|---:|---:|");
measure<Handle>("DeadlineHeap", () => {
  const heap = new DeadlineHeap<() => void>();
  return { add: (atMs) => heap.add(atMs, noop), cancel: (handle) => heap.cancel(handle) };
});
measure("Timer.callAfter", () => {
  const timer = new Timer(newHub(), systemClock);
  return { add: (atMs) => timer.callAfter(atMs / 1_000, noop), cancel: (entry) => entry.cancel() };
});
measure("setTimeout", () => ({ add: (atMs) => setTimeout(noop, atMs), cancel: (timeout) => clearTimeout(timeout) }));

const hub = newHub(true);
const late: number[] = [];
for (let i = 0; i < LATENESS_ENTRIES; i++) {
  const delayMs = (i * LATENESS_SPAN_MS) / LATENESS_ENTRIES + Math.random();
  const dueMs = performance.now() + delayMs;
  hub.afterMs(delayMs, () => late.push(performance.now() - dueMs));
}
process.once("exit", () => {
  const sorted = late.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]?.toFixed(2);
  const early = sorted.filter((ms) => ms < 0).length;
  console.log(
    `lateness of ${sorted.length} over ${LATENESS_SPAN_MS / 1_000} s, ms: p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}; early: ${early}`,
  );
});
