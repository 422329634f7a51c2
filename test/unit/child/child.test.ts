import assert from "node:assert/strict";
import { type Duplex, duplexPair } from "node:stream";
import { test } from "node:test";
import { Lovage } from "../../../src/app/app.ts";
import { currentTask } from "../../../src/app/context.ts";
import { Child, type ChildApp } from "../../../src/child/child.ts";
import { silentLogger } from "../../../src/kit/log.ts";
import type { ToChild, ToParent } from "../../../src/pool/prefork/ipc.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";
import { poolJob } from "../../../src/testing/pool-conformance.ts";

/** The inside of a child, with the test at the worker's end of its channel. */
class Harness {
  readonly exits: number[] = [];
  readonly frames: ToParent[] = [];
  readonly child: Child;
  readonly pipe: Duplex;
  #look: () => void = () => undefined;

  constructor(load: () => Promise<ChildApp>) {
    const [near, far] = duplexPair();
    this.pipe = far;
    let rest = "";
    far.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      this.frames.push(...lines.map((line) => JSON.parse(line) as ToParent));
      this.#look();
    });
    this.child = new Child({
      channel: near,
      load,
      exit: (status) => this.exits.push(status),
      log: silentLogger,
      clock: new FakeClock(),
    });
  }

  say(frame: ToChild): void {
    this.pipe.write(`${JSON.stringify(frame)}\n`);
  }

  /** The first frame of the kind, now or later. */
  frame<Kind extends ToParent["kind"]>(kind: Kind): Promise<Extract<ToParent, { kind: Kind }>> {
    return new Promise((resolve) => {
      this.#look = () => {
        const found = this.frames.find((frame) => frame.kind === kind);
        if (found !== undefined) resolve(found as Extract<ToParent, { kind: Kind }>);
      };
      this.#look();
    });
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function appWith(name: string, handler: (...args: unknown[]) => unknown): Lovage {
  const app = new Lovage("child-test", {}, { env: {} });
  app.task(name, handler);
  return app;
}

test("it says that it is ready, accepts a job before it runs it, and says how it ended", async () => {
  const seen: string[] = [];
  const app = appWith("add", (x, y) => {
    seen.push(harness.frames.map(({ kind }) => kind).join(" "));
    return Number(x) + Number(y);
  });
  const harness = new Harness(async () => app);
  await harness.child.boot();
  await harness.frame("ready");
  harness.say({ kind: "run", run: 1, job: poolJob("add", [1, 2]) });
  assert.deepEqual(await harness.frame("done"), {
    kind: "done",
    run: 1,
    outcome: { kind: "succeeded", result: "3" },
  });
  assert.deepEqual(
    harness.frames.map(({ kind }) => kind),
    ["ready", "accept", "done"],
  );
  assert.equal(seen.length, 1);
});

test("what the user's code asks of the app goes over the channel, and the answer comes back", async () => {
  const app = appWith("ask", () => app.ask("result.get", { taskId: "other" }));
  const harness = new Harness(async () => app);
  await harness.child.boot();
  harness.say({ kind: "run", run: 5, job: poolJob("ask") });
  const ask = await harness.frame("ask");
  assert.deepEqual(ask, { kind: "ask", ask: 1, run: 5, op: "result.get", params: { taskId: "other" } });
  harness.say({ kind: "answer", ask: 1, value: null });
  assert.deepEqual((await harness.frame("done")).outcome, { kind: "succeeded", result: "null" });
});

test("an app that does not load is told with code, message and the user's stack; then it leaves", async () => {
  const inner = Object.assign(new TypeError("no setting"), { code: "ESHOP" });
  const harness = new Harness(() => Promise.reject(inner));
  await harness.child.boot();
  const { code, message, stack } = await harness.frame("broken");
  assert.deepEqual([code, message], ["ESHOP", "no setting"]);
  assert.match(stack, /TypeError: no setting\n +at /);
  assert.deepEqual(harness.exits, [1]);
});

test("an abort reaches the run that it names and no other", async () => {
  const app = appWith("wait", () => {
    const { signal } = currentTask();
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  });
  const harness = new Harness(async () => app);
  await harness.child.boot();
  harness.say({ kind: "run", run: 2, job: poolJob("wait") });
  await harness.frame("accept");
  harness.say({ kind: "abort", run: 1, reason: "of another run" });
  await turn();
  await turn();
  assert.ok(!harness.frames.some(({ kind }) => kind === "done"));
  harness.say({ kind: "abort", run: 2, reason: "revoked" });
  assert.deepEqual((await harness.frame("done")).outcome, { kind: "aborted", reason: "revoked" });
});

test("when the channel ends it leaves at once, a handler running or not", async () => {
  const app = appWith("never", () => new Promise(() => undefined));
  const harness = new Harness(async () => app);
  await harness.child.boot();
  harness.say({ kind: "run", run: 1, job: poolJob("never") });
  await harness.frame("accept");
  harness.pipe.end();
  await turn();
  await turn();
  assert.deepEqual(harness.exits, [0]);
});

test("asked to leave it leaves; last words are sent before the process ends", async () => {
  const harness = new Harness(async () => appWith("x", () => 1));
  await harness.child.boot();
  harness.child.lastWords(new RangeError("uncaught"));
  const fatal = await harness.frame("fatal");
  assert.equal(fatal.message, "uncaught");
  assert.match(fatal.stack, /RangeError: uncaught/);
  harness.say({ kind: "leave" });
  await turn();
  await turn();
  assert.deepEqual(harness.exits, [0]);
});
