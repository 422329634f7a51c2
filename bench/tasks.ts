/** Tasks that are measured. What they see goes to files named by `BENCH_LEDGER`, one for each process, in few writes. */
import { appendFileSync } from "node:fs";
import { Lovage } from "../src/index.ts";
import { consumerStep } from "../src/worker/steps/consumer.ts";

export const app = new Lovage("bench", { taskDefaultQueue: process.env.BENCH_QUEUE ?? "lovage-bench" });

const LEDGER = `${process.env.BENCH_LEDGER ?? "/dev/null"}.${process.pid}`;
const EVERY = 50;
let lines: string[] = [];

function note(line: string, every: number): void {
  lines.push(line);
  if (lines.length < every) return;
  appendFileSync(LEDGER, `${lines.join("\n")}\n`);
  lines = [];
}

/** How late it starts, ms: its first instruction against the moment that it was due. */
export const lateness = app.task("bench.lateness", (dueMs: number) => {
  note(String(Date.now() - dueMs), 1);
});

/** Does nothing; each fiftieth notes the time. */
let count = 0;
export const noop = app.task("bench.noop", { ignoreResult: process.env.BENCH_RESULTS !== "1" }, () => {
  count += 1;
  if (count % EVERY === 0) note(`${Date.now()} ${count}`, 1);
});

// The log says so at level info only, and logging each task is not what is measured.
app.steps.worker.add({
  name: "say-ready",
  needs: { consumer: consumerStep },
  start: () => console.log("worker ready."),
});
