/** The tasks that the pool suite runs. The app of a pool under test has them: `addPoolTasks(app)`. */
import type { Lovage } from "../app/app.ts";
import { currentTask } from "../app/context.ts";
import { Ignore, Reject } from "../app/task-outcomes.ts";
import { ContractError, LostError, messageOf, UnavailableError } from "../kit/errors.ts";

/** Thrown by `pool.expected`, which declares it. */
export class OutOfStock extends Error {}

export function addPoolTasks(app: Lovage): void {
  app.task("pool.noop", () => null);
  app.task("pool.echo", (...values: unknown[]) => (values.length === 1 ? values[0] : values));
  app.task("pool.add", { params: ["x", "y"] }, (x: number, y: number) => x + y);
  app.task("pool.nothing", () => undefined);
  app.task("pool.function", () => ({ deep: [() => 1] }));
  app.task("pool.fail", (message: string) => {
    throw new RangeError(message);
  });
  app.task("pool.fail-async", async (message: string) => {
    await null;
    throw new RangeError(message);
  });
  app.task("pool.throw-undefined", () => {
    throw undefined;
  });
  app.task("pool.throw-evil", () => {
    throw new Proxy({}, { get: () => fail(), has: () => fail(), getPrototypeOf: () => fail() });
  });
  app.task("pool.overflow", () => {
    const deeper = (): number => deeper() + 1;
    return deeper();
  });
  app.task("pool.expected", { throws: [OutOfStock] }, () => {
    throw new OutOfStock("no apples");
  });
  app.task("pool.retry", (countdown: number) => currentTask().retry({ countdown, cause: new Error("not yet") }));
  app.task("pool.ignore", () => {
    throw new Ignore();
  });
  app.task("pool.reject", (requeue: boolean) => {
    throw new Reject("not mine", { requeue });
  });
  app.task("pool.context", async () => {
    const before = currentTask().request.id;
    await new Promise((resolve) => setImmediate(resolve));
    const { request, fence } = currentTask();
    const { id, task, args, retries, hostname, headers, deliveryInfo } = request;
    return { before, id, task, args, retries, hostname, headers, deliveryInfo, fence: fence ?? null };
  });
  app.task("pool.state", async (state: string, meta: unknown) => currentTask().updateState(state, meta));
  /** Ends when it is aborted, with what the signal says. */
  app.task("pool.obedient", async () => {
    const { signal } = currentTask();
    await new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  });
  /** Is told to end, and does not. */
  app.task("pool.stubborn", () => new Promise(() => undefined));
  /** Says by an ask that it has begun; finishes its work when it is aborted, and returns. */
  app.task("pool.tidy", async (name: string) => {
    const { signal } = currentTask();
    const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    void app.ask("result.get", { taskId: name }).catch(() => undefined);
    await aborted;
    return messageOf(signal.reason);
  });
  /** Ends when the worker answers. */
  app.task("pool.gate", (name: string) => app.ask("result.get", { taskId: name }));
  app.task("pool.put", async (count: number) => {
    const answers = await Promise.all(
      Array.from({ length: count }, (_, i) =>
        app.ask("schedule.put", {
          callbacks: [{ key: `k${i}`, dueMs: i, queue: "q", message: { task: "t", body: "[[], {}, {}]", retries: 0 } }],
        }),
      ),
    );
    return answers.map(([answer]) => (answer?.put === "added" ? answer.id : answer?.put));
  });
  app.task("pool.ask-error", async () => {
    try {
      await app.ask("schedule.get", { target: { id: "x" } });
      return null;
    } catch (error) {
      const { name, message, code } = error as Error & { readonly code?: unknown };
      return { name, message, code, family: familyOf(error) };
    }
  });
}

function fail(): never {
  throw new Error("do not look");
}

function familyOf(error: unknown): string {
  if (error instanceof ContractError) return "contract";
  if (error instanceof UnavailableError) return "unavailable";
  return error instanceof LostError ? "lost" : "other";
}
