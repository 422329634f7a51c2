/** The app of the fleet tests. What runs is noted in `TEST_LEDGER`, with the node that ran it. */
import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { currentTask, InvalidInputError, Lovage } from "lovage";
import { schedulerStep } from "lovage/worker";
import pg from "pg";

export const app = new Lovage("fleet");

/** One write a line, by the process that runs: independent of all that is tested, and survives kill -9. */
function note(...words: unknown[]): void {
  appendFileSync(process.env.TEST_LEDGER ?? "/dev/null", `${JSON.stringify(words)}\n`);
}

export const noteTask = app.task("fleet.note", (word: string) => {
  const { request } = currentTask();
  note("ran", word, request.hostname, request.id);
});

/** Runs until the file is there, or it is aborted. */
app.task("fleet.hold", async (word: string, gate: string) => {
  const { request, fence, signal } = currentTask();
  note("held", word, request.hostname, fence?.attempt, fence?.token, process.pid);
  while (!existsSync(gate)) {
    signal.throwIfAborted();
    await wait(20);
  }
  note("let go", word, request.hostname);
});

app.task("fleet.cancel", async (ref: string) => {
  note("answered", ref, await app.schedule.cancel(ref), process.pid);
});

/** Writes an order and schedules its note in one transaction of its own. */
app.task("fleet.order", async (key: string, commits: boolean) => {
  const client = new pg.Client({ connectionString: process.env.FLEET_PG });
  await client.connect();
  try {
    await client.query("BEGIN");
    await noteTask.callAfter(0.2, [key], { key, tx: client });
    await client.query(commits ? "COMMIT" : "ROLLBACK");
    note("ordered", key, process.pid);
  } finally {
    await client.end();
  }
});

/** What a program with a slip in it gets to read; it goes on. */
app.task("fleet.slip", async () => {
  for (const when of [{ cron: "0 0 30 2 *" }, { cron: "every day" }, { cron: "@daily", timezone: "Europe/Atlantis" }]) {
    try {
      await noteTask.callRepeatedly(when, ["never"], { key: "slip" });
    } catch (error) {
      if (!(error instanceof InvalidInputError)) throw error;
      note("refused", error.message);
    }
  }
});

// Every process of the fleet declares it when it starts, as a program does.
const recurs = process.env.FLEET_RECURS;
if (recurs !== undefined) {
  app.steps.worker.add({
    name: "declares",
    needs: { scheduler: schedulerStep },
    async start() {
      const { put } = await noteTask.callRepeatedly({ every: 0.5 }, ["tick"], { key: recurs });
      note("declared", put);
      return {};
    },
  });
}
