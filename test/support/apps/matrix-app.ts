/** The tasks of the interop matrix, on our side; `matrix_tasks.py` are the same on Python's. What runs is noted in `TEST_LEDGER`. */
import { appendFileSync, existsSync, writeFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { currentTask, Lovage, SoftTimeLimitExceeded } from "lovage";

export const app = new Lovage("matrix");

function note(word: string): void {
  const { task, id } = currentTask().request;
  appendFileSync(process.env.TEST_LEDGER ?? "/dev/null", `${JSON.stringify([word, task, id, "lovage", Date.now()])}\n`);
}

function pythonError(name: string, text: string): Error {
  return Object.assign(new Error(text), { name });
}

app.task("m.echo", { params: ["value", "word"] }, (value: unknown, word: unknown = null) => {
  note("begun");
  return [value, word];
});

app.task("m.length", (text: string) => {
  note("begun");
  return text.length;
});

app.task("m.sleep", async (seconds: number) => {
  note("begun");
  await wait(seconds * 1_000, undefined, { signal: currentTask().signal });
  note("ended");
  return "slept";
});

app.task("m.nap", async (seconds: number) => {
  note("begun");
  await wait(seconds * 1_000);
});

app.task("m.hold", async (file: string) => {
  note("begun");
  while (!existsSync(file)) await wait(20);
});

app.task("m.retry", { maxRetries: 5 }, (word: string) => {
  note("begun");
  const { request, retry } = currentTask();
  if (request.retries < 2) retry({ countdown: 0.3, cause: new TypeError("not yet") });
  return [word, request.retries];
});

app.task("m.never", { maxRetries: 1 }, () => {
  note("begun");
  currentTask().retry({ countdown: 0.3, cause: pythonError("KeyError", "gone") });
});

app.task("m.fail", (text: string) => {
  note("begun");
  throw pythonError("ValueError", text);
});

app.task("m.die", () => {
  note("begun");
  process.kill(process.pid, "SIGKILL");
});

app.task("m.progress", async (file: string) => {
  note("begun");
  await currentTask().updateState("PROGRESS", { done: 1 });
  while (!existsSync(file)) await wait(20);
  return "all";
});

app.task("m.soft", async () => {
  note("begun");
  try {
    await wait(30_000, undefined, { signal: currentTask().signal });
  } catch (error) {
    const why = error instanceof Error && error.name === "AbortError" ? error.cause : error;
    if (why instanceof SoftTimeLimitExceeded) return "soft";
    throw error;
  }
  return "never";
});

app.task("m.late", { acksLate: true, rejectOnWorkerLost: true }, (file: string) => {
  note("begun");
  if (existsSync(file)) return "second";
  writeFileSync(file, "");
  process.kill(process.pid, "SIGKILL");
  return "never";
});
