/** The app of the result interop tests: a task for each thing that a result can be. */
import { currentTask, Lovage } from "lovage";

export const app = new Lovage("results");

const VALUES: Readonly<Record<string, unknown>> = {
  null: null,
  unicode: { žluť: ["🐎", '\u0000 " \\ \n', "é"] },
  big: [2n ** 70n, -(2n ** 63n), 9_007_199_254_740_991],
  floats: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1.5, -0.25],
  empty: [[], {}, ""],
  deep: { a: { b: [{ c: [true, false] }] } },
};

const echo = app.task("r.echo", (value: unknown) => value);

app.task("r.value", (kind: string) => VALUES[kind]);

class PaymentError extends Error {}

/** A class that the Python side has imported, made with arguments of its own; and one within another. */
class CardDeclined extends Error {
  readonly excModule = "interop_errors";
  readonly excArgs = [this.message, 51];
}
class Inner extends Error {
  readonly excType = "Outer.Inner";
  readonly excModule = "interop_errors";
}

app.task("r.fail", async (kind: string) => {
  if (kind === "type") throw new TypeError("it's not a function");
  if (kind === "own") throw new PaymentError("žluť 🐎", { cause: new RangeError("the cause") });
  if (kind === "imported") throw new CardDeclined("no money");
  if (kind === "nested") throw new Inner("inner");
  if (kind === "text") throw "only a text";
  throw Object.assign(new Error("missing"), { name: "KeyError" });
});

app.task("r.progress", { trackStarted: true }, async () => {
  const { updateState } = currentTask();
  await updateState("PROGRESS", { done: 1, of: 2 });
  await updateState("HALFWAY", "žluť 🐎");
  return "all";
});

app.task("r.parent", async () => {
  const first = await echo.applyAsync(["first"]);
  const second = await echo.applyAsync(["second"]);
  return [first.id, second.id];
});

app.task("r.retry", (word: string) => {
  const { request, retry } = currentTask();
  if (request.retries === 0) retry({ countdown: 0.1, cause: new TypeError("not yet") });
  return [word, request.retries];
});

/** In a pool process, which opens no backend: it follows another task through its worker. */
app.task("r.follow", async (task: string) => {
  const result = await app.signature(task).delay();
  const states: string[] = [];
  for await (const { state } of result.updates({ timeout: 60 })) states.push(state);
  return { states, value: await result.get({ timeout: 60 }), all: await app.results([result]).get({ timeout: 60 }) };
});
