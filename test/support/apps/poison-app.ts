/** The app that the poison corpus is sent to. Each run is noted in `TEST_LEDGER`. */
import { appendFileSync } from "node:fs";
import { currentTask, Lovage } from "lovage";

export const app = new Lovage("poison");

function begun(): void {
  const { task, id } = currentTask().request;
  appendFileSync(process.env.TEST_LEDGER ?? "/dev/null", `${JSON.stringify(["begun", task, id])}\n`);
}

app.task("poison.echo", (...args: unknown[]) => {
  begun();
  return [args, {}];
});

app.task("poison.length", (text: string) => {
  begun();
  return text.length;
});

app.task("poison.retry", { maxRetries: 3 }, () => {
  begun();
  currentTask().retry({ cause: new RangeError("no retry is left"), countdown: 0 });
});

app.task(
  "poison.strict",
  {
    params: ["n"],
    input: {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value: unknown) =>
          typeof (value as { n?: unknown }).n === "number"
            ? { value: value as { n: number } }
            : { issues: [{ message: "n must be a number", path: ["n"] }] },
      },
    },
  },
  (n: number) => {
    begun();
    return n;
  },
);

app.task("poison.result", (kind: string): unknown => {
  begun();
  if (kind === "function") return () => undefined;
  if (kind === "symbol") return Symbol("a symbol");
  const cyclic: { self?: unknown } = {};
  cyclic.self = cyclic;
  return cyclic;
});

app.task("poison.throw", (kind: string) => {
  begun();
  switch (kind) {
    case "null":
      throw null;
    case "undefined":
      throw undefined;
    case "evil":
      throw {
        toString() {
          throw new Error("toString");
        },
        toJSON() {
          throw new Error("toJSON");
        },
        get message() {
          throw new Error("message");
        },
      };
    default:
      throw new Proxy(new Error("proxy"), {
        get() {
          throw new Error("get");
        },
        getPrototypeOf() {
          throw new Error("getPrototypeOf");
        },
      });
  }
});

app.task("poison.never", () => {
  begun();
  return new Promise(() => undefined);
});

app.task("poison.asked", () => {
  begun();
  const { signal } = currentTask();
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
});

app.task("poison.twice", () => {
  begun();
  return new Promise((resolve) => {
    resolve("first");
    resolve("second");
  });
});
