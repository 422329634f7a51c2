/** Every task message that Celery's client was seen to write, decoded and written again. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeBody, decodeTask } from "../../../src/protocol/decode.ts";
import { encodeTask } from "../../../src/protocol/encode.ts";
import type { TaskMessage } from "../../../src/protocol/message.ts";
import { type Captured, capturedMessages } from "./fixtures.ts";

type Json = Record<string, unknown>;

const V2 = [...capturedMessages("basic"), ...capturedMessages("canvas"), ...capturedMessages("stamps")];
const V1 = capturedMessages("v1");

const title = ({ broker, file, scenario, wire }: Captured) =>
  `${file.split(".")[2]} ${scenario} from ${broker} (${wire.properties.correlationId})`;

function accepted({ wire }: Captured): TaskMessage {
  const decoded = decodeTask(wire);
  assert.ok(decoded.ok, decoded.ok ? "" : decoded.refusal.reason);
  return decoded.message;
}

/** Milliseconds, rounded up, of an ISO text with microseconds. */
function msOf(text: string): number {
  const fraction = Number(/\.(\d+)/.exec(text)?.[1]?.padEnd(6, "0").slice(3) ?? 0);
  const zone = /(?:Z|[+-]\d\d:\d\d)$/.test(text) ? "" : "Z";
  return Date.parse(text.replace(/(\.\d{3})\d+/, "$1") + zone) + (fraction > 0 ? 1 : 0);
}

test("there are captured messages to test with", () => {
  assert.ok(V2.length > 120, String(V2.length));
  assert.ok(V1.length > 20, String(V1.length));
});

describe("protocol 2", () => {
  for (const captured of V2) {
    test(`decodes ${title(captured)} to what its headers and body say`, () => {
      const message = accepted(captured);
      const { headers, properties, body } = captured.wire;

      assert.equal(message.body, Buffer.from(body).toString("utf8"), "the text is the producer's own");
      assert.deepEqual(JSON.parse(message.body), captured.decoded);
      assert.equal(message.task, headers.task);
      assert.equal(message.id, headers.id);
      assert.equal(message.retries, headers.retries);
      assert.equal(message.rootId, headers.root_id);
      assert.equal(message.parentId ?? null, headers.parent_id);
      assert.equal(message.group ?? null, headers.group);
      assert.equal(message.groupIndex ?? null, headers.group_index);
      assert.equal(message.shadow ?? null, headers.shadow);
      assert.equal(message.origin, headers.origin);
      assert.equal(message.argsRepr, headers.argsrepr);
      assert.equal(message.kwargsRepr, headers.kwargsrepr);
      assert.equal(message.ignoreResult, headers.ignore_result);
      assert.equal(message.etaMs, headers.eta === null ? undefined : msOf(String(headers.eta)));
      assert.equal(message.expiresMs, headers.expires === null ? undefined : msOf(String(headers.expires)));
      const [hard, soft] = headers.timelimit as [number | null, number | null];
      assert.equal(message.hardLimitMs, hard === null ? undefined : hard * 1_000);
      assert.equal(message.softLimitMs, soft === null ? undefined : soft * 1_000);
      assert.equal(message.replyTo, properties.replyTo);
      assert.equal(message.priority, properties.priority);
      assert.equal(message.correlationId ?? message.id, properties.correlationId);
    });

    test(`writes ${title(captured)} again as Celery wrote it`, () => {
      const message = accepted(captured);
      const nowMs = Date.parse("2026-11-22T13:27:15Z");

      const again = encodeTask(message, nowMs);

      const { lang, eta, expires, ...ours } = { ...again.headers } as Json;
      const { lang: python, eta: theirEta, expires: theirExpires, ...theirs } = captured.wire.headers as Json;
      assert.deepEqual(ours, theirs);
      assert.equal(lang, "js");
      assert.equal(python, "py");
      assert.equal(eta === null ? null : msOf(String(eta)), theirEta === null ? null : msOf(String(theirEta)));
      assert.equal(
        expires === null ? null : msOf(String(expires)),
        theirExpires === null ? null : msOf(String(theirExpires)),
      );
      for (const moment of [eta, expires]) assert.match(String(moment), /^(null|.*\+00:00)$/);

      const { expiration, deliveryMode, ...properties } = again.properties;
      const { expiration: theirs2, deliveryMode: theirMode, ...theirProperties } = captured.wire.properties;
      assert.deepEqual(properties, { priority: 0, ...theirProperties });
      assert.equal(deliveryMode, 2, "also of a transient one: what we hand on is not lost");
      assert.ok(theirMode === 2 || captured.scenario === "transient");
      assert.equal(expiration === undefined, theirs2 === undefined);
      if (message.expiresMs !== undefined) assert.equal(expiration, String(Math.max(0, message.expiresMs - nowMs)));
      assert.deepEqual(Buffer.from(again.body), Buffer.from(captured.wire.body));

      const second = decodeTask(again);
      assert.ok(second.ok);
      assert.deepEqual(second.message, { ...message, priority: message.priority ?? 0 }, "and reads the same");
    });
  }

  test("the body of each decodes to the call", () => {
    for (const captured of V2) {
      const call = decodeBody(accepted(captured).body);
      const [args, kwargs, embed] = captured.decoded as [unknown[], Json, Json];
      assert.equal(call.args.length, args.length, captured.scenario);
      assert.deepEqual(Object.keys(call.kwargs), Object.keys(kwargs));
      if (captured.scenario !== "rich_types" && captured.scenario !== "values") {
        assert.deepEqual([call.args, call.kwargs], [args, kwargs], captured.scenario);
      }
      for (const name of ["callbacks", "errbacks", "chain"] as const) {
        assert.deepEqual(
          call.embed[name]?.map(({ task }) => task) ?? null,
          (embed[name] as Json[] | null)?.map(({ task }) => task) ?? null,
          captured.scenario,
        );
      }
      assert.equal(call.embed.chord?.task ?? null, (embed.chord as Json | null)?.task ?? null);
    }
  });

  test("the values that JSON.parse would change are exact", () => {
    for (const captured of V2.filter(({ scenario }) => scenario === "values")) {
      const { args } = decodeBody(accepted(captured).body);
      assert.deepEqual(args.slice(3, 6), [1e300, 9_007_199_254_740_993n, 1_180_591_620_717_411_303_424n]);
    }
  });
});

describe("protocol 1", () => {
  for (const captured of V1) {
    test(`decodes ${title(captured)} to what its body says`, () => {
      const message = accepted(captured);
      const body = captured.decoded as Json;

      const { args, kwargs, callbacks, errbacks, chord } = body;
      assert.deepEqual(JSON.parse(message.body), [args, kwargs, { callbacks, errbacks, chord, chain: null }]);
      assert.doesNotThrow(() => decodeBody(message.body));
      assert.equal(message.task, body.task);
      assert.equal(message.id, body.id);
      assert.equal(message.retries, body.retries);
      assert.equal(message.group ?? null, body.group);
      assert.equal(message.groupIndex ?? null, body.group_index);
      assert.equal(message.etaMs, body.eta === null ? undefined : msOf(String(body.eta)));
      assert.equal(message.expiresMs, body.expires === null ? undefined : msOf(String(body.expires)));
      assert.equal(message.replyTo, captured.wire.properties.replyTo);
      assert.equal(message.ignoreResult, undefined, "protocol 1 leaves it to the task");
      assert.equal(message.rootId, undefined);
    });
  }
});

describe("serialisers and compression", () => {
  const EXPECTED: Readonly<Record<string, string | undefined>> = {
    compression_gzip: undefined,
    compression_zlib: undefined,
    compression_bzip2: "ERR_COMPRESSION a",
    compression_lzma: "ERR_COMPRESSION a",
    serializer_json: undefined,
    serializer_yaml: "ERR_CONTENT_TYPE d",
    serializer_msgpack: "ERR_CONTENT_TYPE d",
    serializer_pickle: "ERR_CONTENT_TYPE d",
  };

  for (const captured of capturedMessages("encoding")) {
    test(`takes or refuses ${title(captured)} by its kind`, () => {
      assert.ok(Object.hasOwn(EXPECTED, captured.scenario), "a scenario that the table does not know");
      const expected = EXPECTED[captured.scenario];
      const decoded = decodeTask(captured.wire);
      if (expected !== undefined) {
        assert.ok(!decoded.ok);
        assert.equal(`${decoded.refusal.code} ${decoded.refusal.celeryClass}`, expected);
        assert.deepEqual([decoded.refusal.task, decoded.refusal.id], ["refapp.echo", captured.wire.headers.id]);
        return;
      }
      assert.ok(decoded.ok);
      const { args } = decodeBody(decoded.message.body);
      assert.deepEqual(args, captured.scenario === "serializer_json" ? [1, "ž", [1, 2]] : ["hello ".repeat(20)]);
      assert.equal(decoded.message.headers, undefined, "how it was compressed is no header of the message");
    });
  }
});
