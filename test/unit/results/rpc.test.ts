import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createLogger } from "../../../src/kit/log.ts";
import type { WireMessage } from "../../../src/protocol/message.ts";
import { decodeResult, type ResultDocument } from "../../../src/protocol/result.ts";
import { RpcResults, type RpcResultsOptions } from "../../../src/results/rpc.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";
import { fixture } from "../protocol/fixtures.ts";
import { Exchange } from "./loopback.ts";

interface Captured {
  readonly properties: Readonly<Record<string, unknown>>;
  readonly headers: unknown;
  readonly body: string;
  readonly body_decoded: Readonly<Record<string, unknown>> & { readonly task_id: string };
}

const captured = fixture<{
  client_reply_queue: { name: string; durable: boolean; auto_delete: boolean; arguments: unknown }[];
  by_case: Record<string, Captured[]>;
}>("results.rpc.json");
const messages = Object.values(captured.by_case).flat();

const documentOf = (task_id: string, status = "SUCCESS", result = "1"): ResultDocument => ({
  task_id,
  status,
  result,
  traceback: null,
  children: [],
  date_done: null,
});

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function world(options: Partial<RpcResultsOptions> = {}) {
  const exchange = new Exchange();
  const clock = new FakeClock();
  const lines: string[] = [];
  const log = createLogger({ level: "debug", destination: (line) => lines.push(line), clock });
  const open = () => new RpcResults({ carrier: exchange.carrier(), expiresMs: 86_400_000, clock, log, ...options });
  return { exchange, clock, lines, open };
}

describe("results as messages", () => {
  test("are written as Celery writes them, for each of the captured ones", async () => {
    const { exchange, open } = world();
    const worker = open();

    for (const { body_decoded } of messages) {
      const document = decodeResult(JSON.stringify(body_decoded));
      await worker.store(document, 1_000, { replyTo: "my.replies", correlationId: body_decoded.task_id });
    }

    assert.ok(messages.length > 10);
    for (const [i, { properties, headers, body_decoded }] of messages.entries()) {
      const { queue, message } = exchange.sent[i] as { queue: string; message: WireMessage };
      const { contentType, contentEncoding, deliveryMode, priority, correlationId, ...more } = message.properties;
      assert.equal(queue, "my.replies");
      assert.deepEqual(more, {});
      assert.deepEqual(
        {
          content_type: contentType,
          content_encoding: contentEncoding,
          delivery_mode: deliveryMode,
          priority,
          correlation_id: correlationId,
        },
        properties,
      );
      assert.deepEqual(message.headers, headers);
      assert.deepEqual(JSON.parse(Buffer.from(message.body).toString()), body_decoded);
    }
  });

  test("are read as Celery sent them, the short ones of its releases too", async () => {
    for (const file of ["results.rpc.json", "release-5.6.3/results.rpc.json"]) {
      const { by_case } = fixture<{ by_case: Record<string, Captured[]> }>(file);
      const { exchange, open } = world();
      const client = open();
      const name = await client.replyTo();
      for (const { body, body_decoded } of Object.values(by_case).flat()) {
        await client.replyTo(body_decoded.task_id);
        const message = { body: Buffer.from(body, "base64"), properties: {}, headers: {} };
        await exchange.carrier().publish(name, message);
      }
      await turn();

      for (const list of Object.values(by_case)) {
        const last = list.at(-1)?.body_decoded;
        if (last === undefined) continue;
        const document = await client.get(last.task_id);
        assert.deepEqual([document?.status, JSON.parse(document?.result ?? "")], [last.status, last.result]);
      }
    }
  });

  test("come to a queue that is declared as Celery declares it, once, before anything is sent", async () => {
    const { exchange, open } = world();
    const client = open();

    const names = await Promise.all([client.replyTo("a"), client.replyTo("b"), client.replyTo()]);

    const [theirs] = captured.client_reply_queue;
    const [ours] = [...exchange.queues.values()];
    assert.deepEqual(
      [ours?.durable, ours?.autoDelete, ours?.arguments],
      [theirs?.durable, theirs?.auto_delete, theirs?.arguments],
    );
    assert.match(ours?.name ?? "", /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.deepEqual(new Set(names), new Set([ours?.name]));
    assert.equal(exchange.queues.size, 1);
    const forEver = world({ expiresMs: 0 });
    await forEver.open().replyTo();
    assert.deepEqual([...forEver.exchange.queues.values()][0]?.arguments, {});
  });

  test("go to nobody when the task names nobody, or nobody listens; and survive a restart when they are to", async () => {
    const { exchange, open } = world({ persistent: true });
    const worker = open();

    await worker.store(documentOf("a"), 0);
    await worker.store(documentOf("b"), 0, { replyTo: "", correlationId: "b" });
    await worker.store(documentOf("c"), 0, { replyTo: "gone" });

    assert.deepEqual(
      exchange.sent.map(({ queue, message: { properties } }) => [
        queue,
        properties.correlationId,
        properties.deliveryMode,
      ]),
      [["gone", "c", 2]],
    );
  });

  test("of a queue that could not be declared is tried again by the next task", async () => {
    const { exchange, open } = world();
    const client = open();
    exchange.refuse = new Error("away");
    await assert.rejects(client.replyTo("a"), /away/);
    exchange.refuse = undefined;

    assert.equal(await client.replyTo("a"), client.name);
  });

  test("are kept for who asks later, and no longer than they are to be", async () => {
    const { clock, open } = world({ expiresMs: 60_000 });
    const [client, worker] = [open(), open()];
    const replyTo = await client.replyTo("a");
    await worker.store(documentOf("a", "STARTED", "1"), 0, { replyTo });
    await worker.store(documentOf("a", "SUCCESS", "2"), 0, { replyTo });
    await turn();

    assert.equal((await client.get("a"))?.result, "2");
    assert.equal(await worker.get("a"), undefined, "nobody else has it");
    await clock.advance(60_001);
    assert.equal(await client.get("a"), undefined);
    assert.equal(await client.sweep(10), 1);
    await assert.rejects(
      client.watch("a", () => undefined),
      { code: "ERR_RESULT_ELSEWHERE" },
    );
  });

  test("that will never come here are said to be elsewhere, as soon as they are waited for", async () => {
    const { open } = world();
    const client = open();
    await client.replyTo("mine");

    await assert.rejects(
      client.watch("theirs", () => undefined),
      {
        code: "ERR_RESULT_ELSEWHERE",
        message: /task "theirs" will come to this process.*the process that sent the task.*redis/,
      },
    );
    const watch = await client.watch("mine", () => undefined);
    watch.stop();
    assert.equal(await client.get("theirs"), undefined);
  });

  test("of a program that sent more than it can remember are waited for in any case", async () => {
    const { open } = world();
    const client = open();
    for (let i = 0; i < 100_001; i += 1) await client.replyTo(`task-${i}`);

    const watch = await client.watch("task-0", () => undefined);
    watch.stop();
  });

  test("that nobody reads are bounded: the oldest go first, and it is said", async () => {
    const { lines, clock, open } = world({ maxDocuments: 3 });
    const [client, worker] = [open(), open()];
    const replyTo = await client.replyTo();
    for (const id of ["a", "b", "c", "d", "e"]) await worker.store(documentOf(id), 0, { replyTo });
    await turn();

    const kept = await Promise.all(["a", "b", "c", "d", "e"].map(async (id) => (await client.get(id)) !== undefined));
    assert.deepEqual(kept, [false, false, true, true, true]);
    assert.equal(lines.filter((line) => line.includes("dropped")).length, 1);
    await clock.advance(60_001);
    await worker.store(documentOf("f"), 0, { replyTo });
    await turn();
    assert.equal(lines.filter((line) => line.includes("dropped")).length, 2);

    const chars = world({ maxChars: 2_000 });
    const [reader, writer] = [chars.open(), chars.open()];
    const to = { replyTo: await reader.replyTo() };
    for (const id of ["a", "b", "c"])
      await writer.store(documentOf(id, "SUCCESS", JSON.stringify("x".repeat(900))), 0, to);
    await turn();
    assert.deepEqual([await reader.get("a"), (await reader.get("c"))?.status], [undefined, "SUCCESS"]);
  });

  test("that cannot be read are logged, and the next ones are heard", async () => {
    const { exchange, lines, open } = world();
    const client = open();
    const name = await client.replyTo("a");
    const bytes = (text: string) => ({
      body: Buffer.from(text, "latin1"),
      properties: { correlationId: "x" },
      headers: {},
    });
    for (const bad of ["", "not json", "[]", "{}", '{"task_id": "", "status": "S"}', "\xff\xfe"]) {
      await exchange.carrier().publish(name, bytes(bad));
    }
    await exchange.carrier().publish(name, bytes('{"task_id": "a", "status": "SUCCESS", "result": NaN}'));
    await turn();

    assert.equal(lines.filter((line) => line.includes("cannot be read")).length, 6);
    assert.equal((await client.get("a"))?.result, "NaN");
  });

  test("that come after the end are passed over", async () => {
    const { exchange, open } = world();
    const client = open();
    const replyTo = await client.replyTo("a");
    await exchange.carrier().publish(replyTo, { body: Buffer.from("x"), properties: {}, headers: {} });

    await client.close();
    await client.close();
    await turn();

    for (const call of [() => client.replyTo(), () => client.store(documentOf("a"), 0, { replyTo })]) {
      await assert.rejects(call, { code: "ERR_CLOSED" });
    }
  });
});
