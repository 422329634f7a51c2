/** The app of the interop tests: the seed's tasks, and some that a test watches. What runs is noted in `TEST_LEDGER`. */
import { appendFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { currentTask, Lovage } from "lovage";
import { storeStep, timerStep } from "lovage/worker";

/** Settings of one test, as JSON. */
export const app = new Lovage("interop", JSON.parse(process.env.TEST_SETTINGS ?? "{}"));

/** One write a line, by the process that runs: independent of all that is tested, and survives kill -9. */
function note(...words: unknown[]): void {
  appendFileSync(process.env.TEST_LEDGER ?? "/dev/null", `${JSON.stringify(words)}\n`);
}

app.task("demo.foo", { params: ["word", "times"] }, (word: unknown, times: unknown = 1) => {
  note("foo", word, times, currentTask().request.id);
  return { word, times };
});

const scream = app.task("demo.scream", async (word: string, seconds = 0) => {
  note("scream", word, process.pid);
  await wait(seconds * 1_000, undefined, { signal: currentTask().signal });
  note("screamed", word);
});

app.task("demo.plan", async (countdown: number, key: string, seconds = 0) => {
  const callback = await scream.callAfter(countdown, [key, seconds], { key });
  note("planned", key, callback.id);
  return { id: callback.id, pid: process.pid };
});

/** Plans, and takes back in the same sub-process. */
app.task("demo.changeMind", async (countdown: number, key: string) => {
  const callback = await scream.callAfter(countdown, [key], { key });
  return { id: callback.id, answer: await callback.cancel(), pid: process.pid };
});

app.task("demo.cancel", async (ref: string, seconds = 0) => {
  const answer = await app.schedule.cancel(ref);
  await wait(seconds * 1_000);
  return { answer, pid: process.pid };
});

/** Holds its slot until somebody writes the file. */
app.task("demo.hold", async (file: string) => {
  const { existsSync } = await import("node:fs");
  note("holding", process.pid);
  while (!existsSync(file)) await wait(20);
  return process.pid;
});

/** Acknowledged when it has ended: what is lost with its worker is for the next one. */
app.task("demo.late", { acksLate: true }, async (word: string, seconds: number) => {
  note("late", word, currentTask().request.deliveryInfo?.redelivered);
  await wait(seconds * 1_000);
  return word;
});

app.task("demo.fail", (text: string) => {
  throw new RangeError(text);
});

// A task that was missing, and is there now.
if (process.env.TEST_ALSO !== undefined) {
  app.task(process.env.TEST_ALSO, { params: ["word", "n"] }, (word: unknown, n: unknown) => [
    word,
    Number.isNaN(n) ? null : n,
    currentTask().request.headers["x-own"],
  ]);
}

// The seed's own way: a worker step with a timer entry.
app.steps.worker.add({
  name: "ticker",
  needs: { timer: timerStep },
  start({ timer }) {
    let ticks = 0;
    const entry = timer.callRepeatedly("200ms", () => {
      ticks += 1;
      if (process.env.TEST_TICKS === "1") note("tick", ticks);
    });
    return { stop: () => entry.cancel() };
  },
});

// A machine that loses power when a claim is on disk, and before anything was started for it.
if (process.env.TEST_DIE_AFTER_CLAIM === "1") {
  app.steps.worker.add({
    name: "power-cut",
    needs: { owned: storeStep },
    start({ owned: { store } }) {
      const claimDue = store.claimDue.bind(store);
      store.claimDue = async (...args) => {
        const claimed = await claimDue(...args);
        if (claimed.claims.length > 0) process.kill(process.pid, "SIGKILL");
        return claimed;
      };
      return {};
    },
  });
}
