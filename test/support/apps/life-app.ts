/** The app of the tests of a task's life. What runs is noted in `TEST_LEDGER`. */
import { appendFileSync, existsSync, writeFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { currentTask, Lovage } from "lovage";

export const app = new Lovage("life");

function began(): void {
  const { task, id } = currentTask().request;
  appendFileSync(process.env.TEST_LEDGER ?? "/dev/null", `${JSON.stringify(["began", task, id])}\n`);
}

app.task("life.echo", (value: unknown) => {
  began();
  return value;
});

app.task("life.fail", { acksLate: true, acksOnFailure: false }, (text: string) => {
  began();
  throw new RangeError(text);
});

app.task("life.slowOnce", { acksLate: true, acksOnTimeout: false, timeLimit: 1 }, async (file: string) => {
  began();
  if (existsSync(file)) return "second";
  writeFileSync(file, "");
  await wait(30_000);
  return "never";
});

app.task("life.rare", { rateLimit: "1/h" }, () => {
  began();
});

app.task("life.late", { acksLate: true }, (word: string) => {
  began();
  return word;
});

app.task("life.long", { acksLate: true }, async () => {
  began();
  await wait(60_000);
});

app.task("life.hold", { acksLate: true }, async (file: string) => {
  began();
  while (!existsSync(file)) await wait(20);
  return "held";
});

/** Computes, and lets nothing else of its process run. */
app.task("life.block", { acksLate: true }, (seconds: number) => {
  began();
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end);
  return "blocked";
});
