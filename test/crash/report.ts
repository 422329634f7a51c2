/** What a campaign publishes: a list of results as data, and the page that is made of it. Pure. */
import type { Verdict } from "./checker.ts";
import type { Figures, Spread } from "./figures.ts";

const ANSWERS = ["cancelled", "stopped", "running", "finished"] as const;

export interface Entry {
  readonly store: string;
  readonly what: string;
  readonly note: string;
  readonly seed: number;
  readonly times: number;
  readonly pending: number;
  readonly workers: number;
  readonly concurrency: number;
  readonly leaseMs: number;
  /** From the first fault until all was at rest. */
  readonly seconds: number;
  /** Of the whole machine meanwhile. */
  readonly idlePercent: number;
  readonly commit: string;
  readonly machine: string;
  readonly figures: Figures;
  /** How much breaks each verdict. */
  readonly broken: Readonly<Record<string, number>>;
}

export function entryOf(
  about: Omit<Entry, "figures" | "broken">,
  figures: Figures,
  verdicts: readonly Verdict[],
): Entry {
  return { ...about, figures, broken: Object.fromEntries(verdicts.map(({ name, broken }) => [name, broken.length])) };
}

/** In the order of scenario and store, whenever they were made. */
export function sorted(entries: readonly Entry[]): Entry[] {
  const place = ({ store, what, seed }: Entry) => `${what} ${store} ${String(seed).padStart(10, "0")}`;
  return [...entries].sort((a, b) => (place(a) < place(b) ? -1 : 1));
}

export function pageOf(entries: readonly Entry[]): string {
  const all = sorted(entries);
  const sum = (of: (entry: Entry) => number) => all.reduce((total, entry) => total + of(entry), 0);
  const faults = sum((entry) => faultsOf(entry.figures));
  return [
    "# Kill tests: the figures",
    "",
    "Made by `npm run crash`, which adds to `kill-tests.json` and writes this page from it. [How it is done, and what the verdicts are](README.md).",
    "",
    `In all: ${count(faults)} faults, ${count(sum(({ figures }) => figures.acknowledged))} callbacks acknowledged, ${count(sum(({ figures }) => figures.started))} started,`,
    `${count(sum(({ figures }) => answeredRaces(figures)))} cancels issued within ±5 ms of the due time and answered. Acknowledged and lost: ${sum(({ broken }) => broken.V1 ?? 0)}. Started early:`,
    `${sum(({ broken }) => broken.V2 ?? 0)}. Answered with "cancelled" or "stopped" and started all the same: ${sum(({ broken }) => broken.V3 ?? 0)}. Verdicts broken in any other way:`,
    `${sum(({ broken }) => Object.entries(broken).reduce((n, [name, more]) => (["V1", "V2", "V3"].includes(name) ? n : n + more), 0))}.`,
    "",
    "| Scenario | Store | Faults | Acknowledged | Unknown | Lost | Early | Raced cancels | Untruthful | Repeated / bound | Recovery p50 / p99 / max ms | Of these undisturbed | Lateness p50 / p99 ms | Seed |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ...all.map((entry) => {
      const { figures, broken } = entry;
      const cells = [
        entry.what,
        entry.store,
        count(faultsOf(figures)),
        count(figures.acknowledged),
        count(figures.unknown),
        broken.V1,
        broken.V2,
        count(answeredRaces(figures)),
        broken.V3,
        `${figures.repeated} / ${figures.bound}`,
        spread(figures.recovery),
        // When all are killed, nobody is left undisturbed.
        spread(entry.what === "all" ? undefined : figures.undisturbed),
        `${figures.lateness.p50} / ${figures.lateness.p99}`,
        entry.seed,
      ];
      return `| ${cells.join(" | ")} |`;
    }),
    "",
    "Recovery is from a fault to the next start of a run that it cut off (how many); undisturbed, when another worker served at that time, and no other fault came",
    "before that start. It waits for the lease in Redis and PostgreSQL, and for a look each second at who is dead in the embedded file.",
    "",
    "What raced cancels were answered (an error says that nothing was done, but for ERR_OUTCOME_UNKNOWN, and is followed by another try; unknown: it was not there):",
    "",
    ...all.map(({ what, store, seed, figures }) => `- ${what}, ${store}, seed ${seed}: ${words(figures.racedAnswers)}`),
    "",
    "How each was run:",
    "",
    ...all.map((entry) => {
      const { workers, concurrency, leaseMs, pending, seconds, idlePercent, commit, machine, note, figures } = entry;
      return [
        `- ${entry.what}, ${entry.store}, seed ${entry.seed}: ${note}; ${workers} workers of ${concurrency} slots, lease ${leaseMs / 1_000} s,`,
        `  ${count(pending)} pending at first; ${words(figures.faults)}; ${seconds} s, CPU ${idlePercent} % idle; commit ${commit}; ${machine}`,
      ].join("\n");
    }),
    "",
  ].join("\n");
}

function faultsOf({ faults }: Figures): number {
  return Object.values(faults).reduce((sum, n) => sum + n, 0);
}

/** Of the cancels that raced with the start, those that were answered by what stood for the callback. */
function answeredRaces({ racedAnswers }: Figures): number {
  return ANSWERS.reduce((sum, answer) => sum + (racedAnswers[answer] ?? 0), 0);
}

function spread({ count: n, p50, p99, max }: Spread = { count: 0, p50: 0, p99: 0, max: 0 }): string {
  return n === 0 ? "–" : `${p50} / ${p99} / ${max} (${n})`;
}

function words(counts: Readonly<Record<string, number>>): string {
  const all = Object.entries(counts).map(([word, n]) => `${word} ${count(n)}`);
  return all.length === 0 ? "none" : all.join(", ");
}

function count(n: number): string {
  return n.toLocaleString("en-US");
}
