/** The app of the tests of links, losses and of what Node's older clients got wrong. What runs is noted in `TEST_LEDGER`. */
import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { currentTask, Lovage } from "lovage";

export const app = new Lovage("tasks", JSON.parse(process.env.TEST_SETTINGS ?? "{}"));

/** One write a line: it is there whatever becomes of this process. */
function note(...words: unknown[]): void {
  appendFileSync(process.env.TEST_LEDGER ?? "/dev/null", `${JSON.stringify(words)}\n`);
}

app.task("tasks.add", { params: ["a", "b"] }, (a: number, b: number) => {
  note("add", a, b, currentTask().request.parentId, currentTask().request.rootId);
  return a + b;
});

app.task("tasks.echo", (...words: unknown[]) => {
  const { id, parentId, rootId, group } = currentTask().request;
  note("echo", words, { id, parentId, rootId, grouped: group !== undefined });
  return words;
});

app.task("tasks.fail", (text: string) => {
  note("fail", text);
  throw new RangeError(text);
});

/** When it starts, by the wall clock. */
app.task("tasks.when", (word: string) => {
  note("when", word, Date.now());
});

/** Runs until the file is there. */
app.task("tasks.hold", async (word: string, file: string) => {
  note("held", word, Date.now());
  while (!existsSync(file)) await wait(20);
  note("released", word, Date.now());
  return word;
});

app.task("tasks.holdLate", { acksLate: true }, async (word: string, file: string) => {
  note("held", word, currentTask().request.deliveryInfo?.redelivered);
  while (!existsSync(file)) await wait(20);
  note("released", word);
  return word;
});

/** Ends the process that runs it, every time. */
app.task("tasks.poison", { acksLate: true, rejectOnWorkerLost: true }, (word: string) => {
  note("poison", word, process.pid);
  process.kill(process.pid, "SIGKILL");
});

/** Blocks its process for so long: no timer and no promise of it moves meanwhile. */
app.task("tasks.block", (seconds: number) => {
  note("block", process.pid);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1_000);
  return "unblocked";
});

/** Asks to be run by another queue. */
app.task("tasks.moveTo", (queue: string) => {
  const { retries } = currentTask().request;
  note("moveTo", retries);
  currentTask().retry({ queue, countdown: 1, cause: new Error("not here") });
});

/** Fails twice, and is right the third time. */
app.task("tasks.third", { autoretryFor: true, retryKwargs: { countdown: 0.1 } }, (word: string) => {
  const { retries, parentId, id } = currentTask().request;
  note("third", word, retries, parentId === id);
  if (retries < 2) throw new Error(`not yet (${retries})`);
  return word;
});

const kept: Buffer[] = [];

/** Its process is so much larger afterwards. */
app.task("tasks.grow", (megabytes: number) => {
  kept.push(Buffer.alloc(megabytes * 1024 * 1024, 1));
  return process.pid;
});
