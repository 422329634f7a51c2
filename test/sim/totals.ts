/** What a campaign has seen so far; it may be made in parts, by several processes, into one file. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Outcome } from "./world.ts";

export interface Totals {
  seeds: number;
  /** Ranges of seeds, each "from-to". */
  ranges: string[];
  virtualDays: number;
  events: number;
  storeCalls: number;
  starts: number;
  invariantChecks: number;
  faults: Record<string, number>;
  failures: { seed: number; kinds: string[]; problem: string }[];
}

export function noTotals(): Totals {
  return {
    seeds: 0,
    ranges: [],
    virtualDays: 0,
    events: 0,
    storeCalls: 0,
    starts: 0,
    invariantChecks: 0,
    faults: {},
    failures: [],
  };
}

export function count(totals: Totals, outcome: Outcome): void {
  totals.seeds += 1;
  totals.virtualDays += outcome.virtualMs / 86_400_000;
  totals.events += outcome.events;
  totals.storeCalls += outcome.calls;
  totals.starts += outcome.starts;
  totals.invariantChecks += outcome.checks;
  for (const kind of outcome.kinds) totals.faults[kind] = (totals.faults[kind] ?? 0) + 1;
}

/** Add them to what the file has. */
export function addToFile(path: string, totals: Totals): void {
  const before = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Totals) : noTotals();
  const faults = { ...before.faults };
  for (const [kind, times] of Object.entries(totals.faults)) faults[kind] = (faults[kind] ?? 0) + times;
  const sum: Totals = {
    seeds: before.seeds + totals.seeds,
    ranges: [...before.ranges, ...totals.ranges],
    virtualDays: before.virtualDays + totals.virtualDays,
    events: before.events + totals.events,
    storeCalls: before.storeCalls + totals.storeCalls,
    starts: before.starts + totals.starts,
    invariantChecks: before.invariantChecks + totals.invariantChecks,
    faults: Object.fromEntries(Object.entries(faults).sort(([a], [b]) => (a < b ? -1 : 1))),
    failures: [...before.failures, ...totals.failures],
  };
  writeFileSync(path, `${JSON.stringify(sum, null, 2)}\n`);
}
