/** What else was captured of Celery than task messages: events, a second worker's greeting, chords, a cold stop. Read here, and written again. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readEnvelope, writeEnvelope } from "../../../src/brokers/redis/envelope.ts";
import { decodeJson, encodeJson } from "../../../src/protocol/json.ts";
import { decodeCommand, decodeReply, encodeReply, isFor } from "../../../src/protocol/pidbox.ts";
import { decodeResult, encodeResult } from "../../../src/protocol/result.ts";
import { fixture, type Message, wireOf } from "./fixtures.ts";

const bodyOf = (message: Message) => Buffer.from(wireOf(message).body).toString();

/** The value that was captured comes out of the text, and out of what we write of it. */
function readAndWritten(text: string, captured: unknown): void {
  assert.deepEqual(decodeJson(text), captured);
  assert.deepEqual(decodeJson(encodeJson(decodeJson(text))), captured);
}

describe("events", () => {
  for (const broker of ["rabbitmq", "redis"] as const) {
    test(`of ${broker} are read, one by one and in lists`, () => {
      const { messages } = fixture<{ messages: Message[] }>(`events.${broker}.json`);
      assert.ok(messages.length > 20);
      const types = new Set<unknown>();
      for (const message of messages) {
        readAndWritten(bodyOf(message), message.body_decoded);
        for (const event of [message.body_decoded].flat() as { type: string }[]) types.add(event.type);
      }
      for (const type of ["worker-online", "worker-heartbeat", "task-sent", "task-received", "task-succeeded"]) {
        assert.ok(types.has(type), type);
      }
    });
  }

  test("lie in Redis' channels in the envelope that we read and write", () => {
    const { messages } = fixture<{ messages: (Message & { channel: string })[] }>("events.redis.json");
    for (const { envelope, channel } of messages) {
      const read = readEnvelope(Buffer.from(JSON.stringify(envelope)), "celeryev");
      assert.equal(read.isForeign, false);
      assert.equal(channel, `/3.celeryev/${read.routingKey}`);
      const { message, exchange, routingKey, tag = "" } = read;
      const written = writeEnvelope(message, message.headers, { exchange, routingKey }, tag, "base64");
      assert.deepEqual(JSON.parse(written), envelope);
    }
  });
});

describe("a second worker's greeting", () => {
  const { mingle, election } = fixture<{
    mingle: (Message & { kind: string; body_decoded: Record<string, unknown> })[];
    election: (Message & { kind: string })[];
  }>("mingle_and_election.rabbitmq.json");
  const [request, reply] = mingle as [(typeof mingle)[0], (typeof mingle)[0]];

  test("is a command to all but itself, and its answer a reply", () => {
    const command = decodeCommand(wireOf(request));
    assert.deepEqual([command.method, command.arguments], ["hello", request.body_decoded.arguments]);
    assert.ok(isFor(command, "any@host"));
    const { ticket, answers } = decodeReply(wireOf(reply));
    assert.equal(ticket, command.replyTo?.ticket);
    assert.deepEqual(answers, reply.body_decoded);
    const [[node, answer] = ["", undefined]] = Object.entries(reply.body_decoded);
    const written = encodeReply(node, answer, ticket, Number(reply.headers?.clock));
    assert.deepEqual(decodeJson(Buffer.from(written.body).toString()), reply.body_decoded);
  });

  test("and an election are events that are read", () => {
    for (const message of election) readAndWritten(bodyOf(message), message.body_decoded);
    assert.ok(election.length > 5);
  });
});

test("documents that chords store are read, and written as Celery stores them", () => {
  const commands = fixture<Record<"success" | "failure", string[]>>("results.redis.chord_commands.json");
  let documents = 0;
  let parts = 0;
  for (const line of [...commands.success, ...commands.failure]) {
    const [, stored] = /^(?:SETEX celery-task-meta-\S+ 86400|PUBLISH celery-task-meta-\S+) (\{.*\})$/s.exec(line) ?? [];
    // MONITOR's escapes were undone in the capture: what holds a traceback is no JSON any more.
    if (stored !== undefined && !stored.includes("Traceback")) {
      assert.deepEqual(JSON.parse(encodeResult(decodeResult(stored))), JSON.parse(stored));
      documents += 1;
    }
    const [, part] = /^ZADD celery-taskset-meta-\S+\.j \d+ (\[.*\])$/s.exec(line) ?? [];
    if (part !== undefined) {
      readAndWritten(part, JSON.parse(part));
      parts += 1;
    }
  }
  assert.ok(documents >= 10 && parts >= 4, `${documents} ${parts}`);
});

for (const file of ["shutdown.cold.json", "release-5.6.3/shutdown.cold.json"]) {
  test(`what a cold stop leaves is read (${file})`, () => {
    const { results, events_after_signal } = fixture<{
      results: Record<string, Record<string, unknown> | null>;
      events_after_signal: Message[];
    }>(file);
    for (const stored of Object.values(results)) {
      if (stored === null) continue;
      const text = JSON.stringify(stored);
      assert.deepEqual(JSON.parse(encodeResult(decodeResult(text))), stored);
    }
    for (const message of events_after_signal) readAndWritten(bodyOf(message), message.body_decoded);
  });
}
