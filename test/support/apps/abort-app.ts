/** The app of the tests of aborts: a task that heeds no `signal`, in a process that notes the signals it is sent. */
import { appendFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { currentTask, Lovage } from "lovage";

export const app = new Lovage("abort");

function note(...what: string[]): void {
  appendFileSync(process.env.TEST_LEDGER ?? "/dev/null", `${JSON.stringify(what)}\n`);
}

for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, () => note("signal", signal));

app.task("abort.deaf", async () => {
  note("began", "abort.deaf", currentTask().request.id);
  await wait(300_000);
});
