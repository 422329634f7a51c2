/** Control commands and their replies, against those that were captured of Celery. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { decodeJson } from "../../../src/protocol/json.ts";
import type { WireMessage } from "../../../src/protocol/message.ts";
import { decodeCommand, decodeReply, encodeCommand, encodeReply, isFor } from "../../../src/protocol/pidbox.ts";
import { code } from "./coded.ts";

interface Captured {
  readonly properties?: Record<string, unknown>;
  readonly headers?: Record<string, unknown>;
  readonly body?: string;
  readonly body_decoded: Record<string, unknown>;
}

const capture = (file: string) =>
  JSON.parse(readFileSync(new URL(`../../fixtures/${file}`, import.meta.url), "utf8")) as {
    readonly exchanges: readonly {
      readonly command: string;
      readonly request: Captured;
      readonly reply?: Captured | null;
    }[];
  };

function wireOf({ body, body_decoded, headers = {} }: Captured): WireMessage {
  const bytes = body === undefined ? Buffer.from(JSON.stringify(body_decoded)) : Buffer.from(body, "base64");
  return { body: bytes, properties: {}, headers: Object.assign(Object.create(null), headers) };
}

for (const file of ["pidbox.rabbitmq.json", "pidbox.redis.json"]) {
  const { exchanges } = capture(file);

  describe(`commands of ${file}`, () => {
    test("are there", () => assert.ok(exchanges.length > 10, `${exchanges.length}`));

    for (const { command, request, reply } of exchanges) {
      test(`${command} is read, and written again as it came`, () => {
        const received = decodeCommand(wireOf(request));
        assert.equal(received.method, request.body_decoded.method);
        const { clock, replyTo } = received;
        const written = encodeCommand(received, { clock, expires: 0, ...(replyTo === undefined ? {} : { replyTo }) });
        assert.deepEqual(decodeJson(Buffer.from(written.body).toString()), request.body_decoded);
        if (request.properties?.content_type === undefined) return;
        assert.equal(written.properties.contentType, request.properties.content_type);
        assert.equal(written.properties.deliveryMode, request.properties.delivery_mode);
      });

      const [node, answer] = Object.entries(reply?.body_decoded ?? {})[0] ?? [];
      if (node === undefined || reply === null || reply === undefined) continue;
      test(`the reply to ${command} is read, and written again as it came`, () => {
        const { ticket, answers } = decodeReply(wireOf(reply));
        assert.deepEqual(answers, reply.body_decoded);
        const written = encodeReply(node, answer, ticket, Number(reply.headers?.clock ?? 0));
        assert.deepEqual(decodeJson(Buffer.from(written.body).toString()), reply.body_decoded);
        if (reply.headers !== undefined) assert.deepEqual({ ...written.headers }, reply.headers);
      });
    }
  });
}

describe("a command", () => {
  const command = { method: "ping", arguments: {} };

  test("is for every worker, for those it names, or for those a pattern means", () => {
    assert.ok(isFor(command, "celery@a"));
    assert.ok(isFor({ ...command, destination: ["celery@a"] }, "celery@a"));
    assert.ok(!isFor({ ...command, destination: ["celery@b"], pattern: "*", matcher: "glob" }, "celery@a"));
    assert.ok(isFor({ ...command, pattern: "celery@*", matcher: "glob" }, "celery@a"));
    assert.ok(!isFor({ ...command, pattern: "other@*", matcher: "glob" }, "celery@a"));
    assert.ok(isFor({ ...command, pattern: "cel.*@", matcher: "pcre" }, "celery@a"));
    assert.ok(!isFor({ ...command, pattern: "elery", matcher: "pcre" }, "celery@a"), "from its beginning on");
    assert.ok(!isFor({ ...command, pattern: "(", matcher: "pcre" }, "celery@a"));
  });

  test("means workers by Python's fnmatch, where a slash, a dot and a brace are nothing special", () => {
    const cases = [
      ["*", "w@host/x", true],
      ["*@h", ".w@h", true],
      ["w[!1]@h", "w2@h", true],
      ["w[!1]@h", "w1@h", false],
      ["w{1,2}@h", "w1@h", false],
      ["W@h", "w@h", false],
      ["ключ@*", "ключ@h", true],
    ] as const;
    for (const [pattern, node, meant] of cases) {
      assert.equal(isFor({ ...command, pattern, matcher: "glob" }, node), meant, `${pattern} ${node}`);
    }
  });

  test("that is none is refused", () => {
    for (const body of [
      "",
      "[]",
      "{}",
      '{"method": 7}',
      '{"method": "x", "arguments": []}',
      '{"method": "x", "destination": "a"}',
    ]) {
      assert.throws(
        () => decodeCommand({ body: Buffer.from(body), properties: {}, headers: {} }),
        { code: /^ERR_/ },
        body,
      );
    }
    assert.throws(() => decodeReply({ body: Buffer.from("[]"), properties: {}, headers: {} }), code("ERR_PROTO"));
  });
});
