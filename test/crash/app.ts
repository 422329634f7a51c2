/** The app of the crash tests: what runs, notes itself in a ledger of its own process. The environment says where everything is. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { currentTask, Lovage } from "lovage";
import { schedulerStep } from "lovage/worker";
import { LedgerWriter } from "./ledger.ts";

export const app = new Lovage("crash");

const ledger = new LedgerWriter(process.env.CRASH_LEDGER ?? ".");

/** Note the start, stay for a while, note the end; and, when it is to run again, ask for that once. */
app.task("crash.run", { ignoreResult: true }, async (name: string, holdMs: number, againAfterMs: number) => {
  const { fence, request, retry } = currentTask();
  if (fence === undefined) throw new Error("it was not run by the schedule");
  ledger.note("start", { ...fence, name });
  await wait(holdMs);
  ledger.note("end", { ...fence, name });
  if (againAfterMs > 0 && request.retries === 0) retry({ countdown: againAfterMs / 1_000 });
});

// The harness looks for the file of the pid: from then on callbacks are fired.
app.steps.worker.add({
  name: "tell-ready",
  needs: { scheduler: schedulerStep },
  start() {
    writeFileSync(join(process.env.CRASH_READY ?? ".", String(process.pid)), "");
    return {};
  },
});
