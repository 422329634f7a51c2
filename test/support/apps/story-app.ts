/** The app of the stories. What runs is noted in `TEST_LEDGER`. */
import { appendFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { Lovage } from "lovage";

export const app = new Lovage("story");

/** One write a line: it is there whatever becomes of this process. */
function note(...words: unknown[]): void {
  appendFileSync(process.env.TEST_LEDGER ?? "/dev/null", `${JSON.stringify(words)}\n`);
}

app.task("story.note", (word: string) => {
  note("ran", word, Date.now());
  return word;
});

app.task("story.late", { acksLate: true }, async (word: string, seconds: number) => {
  note("began", word);
  await wait(seconds * 1_000);
  note("ran", word);
  return word;
});

/** Computes, and lets nothing else of its process run. */
app.task("story.block", { acksLate: true }, (word: string, seconds: number) => {
  note("began", word);
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end);
  return word;
});

/** Ends the process that runs it, every time. */
app.task("story.poison", { acksLate: true, rejectOnWorkerLost: true }, (word: string) => {
  note("began", word);
  process.kill(process.pid, "SIGKILL");
});
