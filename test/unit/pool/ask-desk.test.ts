import assert from "node:assert/strict";
import { duplexPair } from "node:stream";
import { test } from "node:test";
import { silentLogger } from "../../../src/kit/log.ts";
import type { AskHandler } from "../../../src/pool/pool.ts";
import { AskDesk } from "../../../src/pool/prefork/ask-desk.ts";
import { Channel, TO_PARENT, type ToChildFrames, type ToParentFrames } from "../../../src/pool/prefork/ipc.ts";

function openDesk(handler: AskHandler, maxOpen?: number) {
  const [near, far] = duplexPair();
  const answers: Record<string, unknown>[] = [];
  let rest = "";
  far.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) answers.push(JSON.parse(line) as Record<string, unknown>);
  });
  const channel = new Channel<ToParentFrames, ToChildFrames>(near, TO_PARENT, {
    onFrame: (frame) => {
      if (frame.kind === "ask") desk.take(frame, undefined);
    },
    onRefused: () => assert.fail("refused"),
    onEnd: () => undefined,
  });
  const desk = new AskDesk(handler, channel, silentLogger, maxOpen === undefined ? {} : { maxOpen });
  const ask = (id: number, op = "result.get") =>
    far.write(`${JSON.stringify({ kind: "ask", ask: id, run: null, op, params: { taskId: "x" } })}\n`);
  return { desk, channel, ask, answers, far };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test("an answer of nothing is null; a handler that throws at once is a refusal like one that rejects", async () => {
  let calls = 0;
  const { ask, answers } = openDesk(() => {
    calls += 1;
    if (calls === 1) return Promise.resolve(undefined);
    throw Object.assign(new Error("at once"), { code: "EX" });
  });
  ask(1);
  await turn();
  await turn();
  ask(2);
  await turn();
  await turn();
  assert.deepEqual(answers[0], { kind: "answer", ask: 1, value: null });
  const refusal = answers[1] as { ask: number; error: { code: string; message: string } };
  assert.deepEqual([refusal.ask, refusal.error.code, refusal.error.message], [2, "EX", "at once"]);
});

test("a child that asks faster than it is answered is not read further", async () => {
  const open: (() => void)[] = [];
  const { desk, ask, answers } = openDesk(() => new Promise((resolve) => open.push(() => resolve(null))), 3);
  for (let id = 1; id <= 10; id += 1) {
    ask(id);
    await turn();
  }
  assert.equal(desk.open, 3, "the rest waits in the pipe");
  while (answers.length < 10) {
    open.shift()?.();
    await turn();
    assert.ok(desk.open <= 3);
  }
  assert.deepEqual(
    answers.map(({ ask: id }) => id),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
});

test("a child that does not read its answers is not read either, until it does", async () => {
  const value = "x".repeat(1024 * 1024);
  const { desk, channel, ask, answers, far } = openDesk(async () => value);
  far.pause();
  let asked = 0;
  while (channel.unsentBytes < 4 * 1024 * 1024 && asked < 100) {
    asked += 1;
    ask(asked);
    await turn();
  }
  assert.ok(asked < 100);
  const unsent = channel.unsentBytes;
  for (let i = 0; i < 20; i += 1) {
    asked += 1;
    ask(asked);
    await turn();
  }
  assert.ok(
    channel.unsentBytes <= unsent + 3 * 1024 * 1024,
    "what waits for the child does not grow with what it asks",
  );
  far.resume();
  while (answers.length < asked) await turn();
  assert.equal(desk.open, 0);
});
