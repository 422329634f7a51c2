import assert from "node:assert/strict";
import { type Duplex, duplexPair } from "node:stream";
import { test } from "node:test";
import {
  Channel,
  type ChannelOptions,
  TO_CHILD,
  TO_PARENT,
  type ToChildFrames,
  type ToParent,
  type ToParentFrames,
} from "../../../src/pool/prefork/ipc.ts";

interface Parent {
  readonly channel: Channel<ToParentFrames, ToChildFrames>;
  readonly frames: ToParent[];
  readonly refused: string[];
  readonly ends: (string | undefined)[];
}

/** The parent's end of a channel, and the child's bare pipe. */
function open(options: ChannelOptions = {}): Parent & { readonly near: Duplex; readonly pipe: Duplex } {
  const [near, pipe] = duplexPair();
  const frames: ToParent[] = [];
  const refused: string[] = [];
  const ends: (string | undefined)[] = [];
  const channel = new Channel<ToParentFrames, ToChildFrames>(
    near,
    TO_PARENT,
    {
      onFrame: (frame) => frames.push(frame),
      onRefused: (why) => refused.push(why),
      onEnd: (fault) => ends.push(fault),
    },
    options,
  );
  return { channel, frames, refused, ends, near, pipe };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function say(pipe: Duplex, ...chunks: (string | Uint8Array)[]): Promise<void> {
  for (const chunk of chunks) {
    pipe.write(chunk);
    await turn();
  }
}

test("frames arrive in order, however the pipe cuts them, inside a character too", async () => {
  const { frames, pipe } = open();
  const text = [
    { kind: "accept", run: 1 },
    { kind: "fatal", message: "žluť 🧂", stack: "\n\u2028" },
    { kind: "ask", ask: 1, run: null, op: "result.get", params: { taskId: "x" } },
  ]
    .map((frame) => `${JSON.stringify(frame)}\n`)
    .join("");
  const bytes = Buffer.from(text);
  for (const size of [1, 2, 7, bytes.length]) {
    frames.length = 0;
    for (let at = 0; at < bytes.length; at += size) await say(pipe, bytes.subarray(at, at + size));
    assert.deepEqual(frames.map((frame) => `${JSON.stringify(frame)}\n`).join(""), text, `in pieces of ${size}`);
  }
});

test("what is sent in one turn leaves in one write, with what its promises send", async () => {
  const { channel, pipe } = open();
  const chunks: string[] = [];
  pipe.on("data", (chunk: Buffer) => chunks.push(chunk.toString()));
  channel.send({ kind: "leave" });
  void Promise.resolve().then(() => channel.send({ kind: "abort", run: 1, reason: "x" }));
  channel.send({ kind: "leave" });
  assert.ok(channel.unsentBytes > 0);
  await turn();
  await turn();
  assert.equal(chunks.length, 1);
  assert.deepEqual(
    chunks[0]
      ?.trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { kind: string }).kind),
    ["leave", "leave", "abort"],
  );
});

test("a frame of an unknown kind, or with wrong fields, is dropped and told; the next ones are read", async () => {
  const { frames, refused, ends, pipe } = open();
  const bad = [
    { kind: "gossip" },
    { kind: "__proto__" },
    { kind: "constructor" },
    { kind: 7 },
    {},
    null,
    [],
    "text",
    { kind: "accept" },
    { kind: "accept", run: -1 },
    { kind: "accept", run: "1" },
    { kind: "done", run: 1, outcome: { kind: "succeeded" } },
    { kind: "ask", ask: 1, run: 1.5, op: "x", params: null },
    { kind: "broken", message: "x" },
  ];
  for (const frame of bad) await say(pipe, `${JSON.stringify(frame)}\n`);
  await say(pipe, '{"kind":"ready"}\n');
  assert.equal(refused.length, bad.length);
  assert.ok(refused.every((why) => !why.includes("\n")));
  assert.deepEqual(frames, [{ kind: "ready" }]);
  assert.deepEqual(ends, []);
});

test("what is no JSON ends the channel, naming what came", async () => {
  for (const garbage of ["hello\n", "\n", '{"kind":\n', `${"\u0000".repeat(100)}\n`]) {
    const { frames, ends, pipe, channel } = open();
    await say(pipe, garbage, '{"kind":"ready"}\n');
    assert.equal(ends.length, 1);
    assert.match(ends[0] ?? "", /^".*", which is no frame$/);
    assert.deepEqual(frames, []);
    assert.equal(channel.ended, true);
  }
});

test("a frame longer than the limit ends the channel before it is kept", async () => {
  const { ends, pipe } = open({ maxFrameBytes: 1_000 });
  await say(pipe, `${JSON.stringify({ kind: "fatal", message: "x".repeat(800), stack: "" })}\n`);
  assert.deepEqual(ends, []);
  for (let i = 0; i < 5; i += 1) await say(pipe, "x".repeat(300));
  assert.deepEqual(ends, ["a frame of more than 1000 bytes"]);
});

test("what is too long to be sent is refused by its bytes, and the channel goes on", async () => {
  const { channel, pipe } = open({ maxFrameBytes: 100 });
  const chunks: string[] = [];
  pipe.on("data", (chunk: Buffer) => chunks.push(chunk.toString()));
  assert.throws(() => channel.send({ kind: "answer", ask: 1, value: "ž".repeat(50) }), {
    code: "ERR_FRAME_TOO_LARGE",
    message: /^the answer to what the task asked for takes 1\d\d bytes as JSON, and .* carries 100;/,
  });
  assert.throws(() => channel.send({ kind: "answer", ask: 1, value: 1n }), { code: "ERR_FRAME_ENCODE" });
  channel.send({ kind: "answer", ask: 1, value: "ž".repeat(20) });
  await turn();
  await turn();
  assert.equal(chunks.join(""), `{"kind":"answer","ask":1,"value":"${"ž".repeat(20)}"}\n`);
});

test("the end of the other side is told once; what is sent afterwards goes nowhere", async () => {
  const { channel, ends, pipe } = open();
  pipe.end();
  await turn();
  pipe.destroy();
  await turn();
  assert.deepEqual(ends, [undefined]);
  channel.send({ kind: "leave" });
  channel.flush();
  await channel.drained();
  channel.close();
  channel.close();
  assert.deepEqual(ends, [undefined]);
});

test("frames before the end are read before the end is told", async () => {
  const { frames, ends, pipe } = open();
  pipe.write('{"kind":"accept","run":1}\n{"kind":"rea');
  pipe.end();
  await turn();
  await turn();
  assert.deepEqual(frames, [{ kind: "accept", run: 1 }]);
  assert.deepEqual(ends, [undefined]);
});

test("drained resolves when a slow reader has taken all, and when it is gone", async () => {
  const { channel, near, pipe } = open();
  const long = "x".repeat(200_000);
  channel.send({ kind: "answer", ask: 1, value: long });
  let drained = false;
  const waiting = channel.drained().then(() => {
    drained = true;
  });
  await turn();
  assert.equal(drained, false);
  assert.ok(channel.unsentBytes >= long.length);
  pipe.resume();
  await waiting;
  assert.equal(channel.unsentBytes, 0);

  pipe.pause();
  channel.send({ kind: "answer", ask: 2, value: long });
  const cut = channel.drained();
  near.destroy(); // what a socket does when the other side is gone
  await cut;
});

test("while paused nothing is read; nothing of it is lost", async () => {
  const { channel, frames, pipe } = open();
  channel.pause();
  await say(pipe, '{"kind":"ready"}\n');
  assert.deepEqual(frames, []);
  channel.resume();
  await turn();
  assert.deepEqual(frames, [{ kind: "ready" }]);
});

test("both tables know every frame by its fields", () => {
  const message = { task: "t", id: "1", body: "[]", retries: 0 };
  const error = { family: "lost", code: "E", name: "E", message: "m", fields: { key: "k" } };
  assert.ok(TO_CHILD.run({ run: 1, job: { message, hostname: "h" } }));
  assert.ok(TO_CHILD.refusal({ ask: 1, error }));
  assert.ok(!TO_CHILD.refusal({ ask: 1, error: { ...error, family: "royal" } }));
  assert.ok(!TO_CHILD.refusal({ ask: 1, error: { ...error, fields: { deep: {} } } }));
  const failure = { exception: { exc_type: "E", exc_message: [], exc_module: null }, text: "E()", traceback: null };
  for (const outcome of [
    { kind: "succeeded", result: "1" },
    { kind: "failed", error: failure, expected: false },
    { kind: "retry", etaMs: 1, body: "[]", retries: 1, error: failure },
    { kind: "ignored" },
    { kind: "rejected", requeue: true, reason: "" },
    { kind: "aborted", reason: "x" },
  ]) {
    assert.ok(TO_PARENT.done({ run: 1, outcome }), outcome.kind);
  }
  for (const outcome of [
    undefined,
    null,
    {},
    [],
    { kind: "toString" },
    { kind: "crashed", reason: "x", started: false },
    { kind: "timed-out", limitMs: 1 },
    { kind: "succeeded", result: 1 },
    { kind: "failed", error: failure },
    { kind: "failed", error: { ...failure, exception: null }, expected: true },
    { kind: "failed", error: { ...failure, traceback: 1 }, expected: true },
    { kind: "retry", etaMs: 1.5, body: "[]", retries: 1, error: failure },
    { kind: "retry", etaMs: 1, body: "[]", retries: 0, error: failure },
    { kind: "rejected", requeue: "yes", reason: "" },
  ]) {
    assert.ok(!TO_PARENT.done({ run: 1, outcome }), JSON.stringify(outcome));
  }
});
