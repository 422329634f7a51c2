import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { FOREIGN_TYPE, markRedelivered, readEnvelope, writeEnvelope } from "../../../../src/brokers/redis/envelope.ts";
import { readRecord } from "../../../../src/brokers/redis/record.ts";
import { decodeTask } from "../../../../src/protocol/decode.ts";
import type { WireMessage } from "../../../../src/protocol/message.ts";

const FOLDER = new URL("../../../fixtures/", import.meta.url);

interface Captured {
  readonly redis_key: string;
  readonly envelope: Envelope;
}

type Envelope = Record<string, unknown> & {
  readonly body: string;
  readonly headers: Record<string, unknown>;
  readonly properties: Record<string, unknown> & { readonly delivery_info: Record<string, string> };
};

function captured(): Captured[] {
  const files = readdirSync(FOLDER).filter((name) => /^task_messages\.redis\./.test(name));
  return files.flatMap((name) => {
    const { scenarios } = JSON.parse(readFileSync(new URL(name, FOLDER), "utf8")) as {
      readonly scenarios: Record<string, { readonly messages: readonly Captured[] }>;
    };
    return Object.values(scenarios).flatMap(({ messages }) => messages);
  });
}

const raw = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value));

const ENVELOPE = {
  body: Buffer.from("[[], {}, {}]").toString("base64"),
  "content-encoding": "utf-8",
  "content-type": "application/json",
  headers: { task: "demo.foo", id: "1" },
  properties: {
    correlation_id: "1",
    delivery_info: { exchange: "", routing_key: "q" },
    priority: 3,
    body_encoding: "base64",
    delivery_tag: "t",
  },
};

describe("the envelope of Redis", () => {
  test("of every captured message is read, and written again as it was", () => {
    const messages = captured();
    assert.ok(messages.length > 80, `${messages.length} messages`);
    for (const { envelope } of messages) {
      const read = readEnvelope(raw(envelope), "celery");

      assert.equal(read.isForeign, false);
      assert.equal(read.redelivered, false);
      assert.deepEqual(Buffer.from(read.message.body), Buffer.from(envelope.body, "base64"));
      assert.equal(read.tag, envelope.properties.delivery_tag);
      const target = { exchange: read.exchange, routingKey: read.routingKey };
      const written = writeEnvelope(read.message, read.message.headers, target, read.tag ?? "", "base64");
      // Stamps are properties too, which a message of ours has no place for; they are headers as well.
      const { customer, ...properties } = envelope.properties;
      assert.deepEqual(JSON.parse(written), { ...envelope, properties });
      assert.ok(customer === undefined || customer === 7);
      assert.match(written, /^[\x20-\x7e]*$/, "Python escapes all else");
    }
  });

  test("marks a redelivery in both places, and leaves all else as it was written", () => {
    for (const { envelope } of captured()) {
      const marked = JSON.parse(markRedelivered(raw(envelope), "celery", "t")) as Envelope;

      const { headers, properties, ...rest } = marked;
      assert.equal(headers.redelivered, true);
      assert.equal(properties.delivery_info.redelivered, true);
      delete headers.redelivered;
      delete properties.delivery_info.redelivered;
      assert.deepEqual({ ...rest, headers, properties }, envelope);
    }
    const odd = `{"body": "", "headers": {"n": 1.0, "big": 123456789012345678901, "nan": NaN, "e": []}, "properties": {"delivery_tag": "t", "x": 1.50}}`;
    assert.equal(
      markRedelivered(raw(odd), "q", "t"),
      `{"body": "", "headers": {"n": 1.0, "big": 123456789012345678901, "nan": NaN, "e": [], "redelivered": true}, "properties": {"delivery_tag": "t", "x": 1.50, "delivery_info": {"redelivered": true}}}`,
    );
    const twice = markRedelivered(raw(markRedelivered(raw(odd), "q", "t")), "q", "t");
    assert.equal(twice.match(/redelivered/g)?.length, 2);
  });

  test("tells a redelivery, and keeps its mark out of the headers", () => {
    const read = readEnvelope(raw(markRedelivered(raw(ENVELOPE), "q", "t")), "q");

    assert.equal(read.redelivered, true);
    assert.deepEqual({ ...read.message.headers }, ENVELOPE.headers);
    const own = { ...ENVELOPE, headers: { redelivered: true } };
    assert.equal(readEnvelope(raw(own), "q").redelivered, false, "a header of the producer's is none");
    assert.deepEqual({ ...readEnvelope(raw(own), "q").message.headers }, { redelivered: true });
  });

  test("has its body as text, as base64, or not at all", () => {
    const body = (text: unknown, encoding: unknown) =>
      readEnvelope(
        raw({ ...ENVELOPE, body: text, properties: { ...ENVELOPE.properties, body_encoding: encoding } }),
        "q",
      );

    for (const encoding of ["utf-8", null, undefined, ""]) {
      assert.equal(String(body("žluť", encoding).message.body), "žluť");
    }
    assert.equal(String(body("xb5sdcWl", "base64").message.body).length > 0, true);
    assert.equal(String(body("W1\nsx\nXQ==", "base64").message.body), "[[1]");
    assert.equal(body(null, "base64").message.body.byteLength, 0);
    for (const [text, encoding] of [
      ["%%%", "base64"],
      ["W1sxX", "base64"],
      ["W1sx", "rot13"],
      [5, null],
    ] as const) {
      assert.equal(body(text, encoding).isForeign, true, `${text} as ${encoding}`);
    }
  });

  test("that is none keeps all its bytes, and is refused by who reads it as a task", () => {
    const items = [
      "not json",
      "",
      "[1, 2]",
      '"text"',
      "5",
      "null",
      '{"headers": 5}',
      '{"properties": []}',
      Buffer.from([0x80, 0xff, 0x00]),
      '{"task": "demo.foo", "id": "1", "args": []',
      `{"headers": ${"[".repeat(5_000)}${"]".repeat(5_000)}}`,
    ];
    for (const item of items) {
      const bytes = Buffer.from(item);
      const read = readEnvelope(bytes, "q");
      const back = readEnvelope(raw(markRedelivered(bytes, "q", "t-1")), "q");

      assert.equal(read.isForeign, true, String(item).slice(0, 40));
      assert.equal(read.routingKey, "q");
      assert.deepEqual(Buffer.from(read.message.body), bytes);
      assert.equal(decodeTask(read.message).ok, false);
      if (!String(item).startsWith('{"headers": [')) {
        assert.deepEqual(Buffer.from(back.message.body), bytes, "the wrapper is taken off");
        assert.deepEqual([back.redelivered, back.isForeign, back.tag], [true, true, "t-1"]);
      }
    }
    const call = readEnvelope(raw('{"task": "demo.foo", "id": "1", "args": [1]}'), "q");
    assert.equal(decodeTask(call.message).ok, false, "a call without an envelope is not run");
    assert.equal(FOREIGN_TYPE.includes("json"), false);
  });

  test("may lack its properties, its tag or its delivery_info", () => {
    const { properties, ...rest } = ENVELOPE;
    const { delivery_info, delivery_tag, ...others } = properties;

    assert.equal(readEnvelope(raw(rest), "q").tag, undefined);
    assert.deepEqual(
      [
        { ...rest, properties: others },
        { ...rest, properties: { ...others, delivery_info: null, delivery_tag: 7 } },
      ].map((each) => {
        const { exchange, routingKey, tag, isForeign } = readEnvelope(raw(each), "q");
        return [exchange, routingKey, tag, isForeign];
      }),
      [
        ["", "q", undefined, false],
        ["", "q", undefined, false],
      ],
    );
    assert.equal(delivery_info.routing_key + delivery_tag, "qt");
  });

  test("may be mutilated in any way: it is read or foreign, and marking it keeps it whole", () => {
    let seed = 20_261_126;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return seed % below;
    };
    const golden = captured().map(({ envelope }) => JSON.stringify(envelope));
    for (let i = 0; i < 20_000; i += 1) {
      const bytes = Buffer.from(golden[random(golden.length)] ?? "");
      for (let n = random(4); n >= 0; n -= 1) {
        const at = random(bytes.length);
        if (random(3) === 0) bytes[at] = random(256);
        else if (random(2) === 0) bytes.copyWithin(at, random(bytes.length));
        else bytes.write(['"', "{", "}", "\\", ",", "null", "1e999"][random(7)] ?? "", at);
      }
      const read = readEnvelope(bytes, "q");
      const marked = readEnvelope(raw(markRedelivered(bytes, "q", "t")), "q");

      assert.equal(marked.redelivered, true);
      assert.equal(marked.isForeign, read.isForeign);
      if (!read.isForeign) assert.deepEqual(Buffer.from(marked.message.body), Buffer.from(read.message.body));
      decodeTask(read.message);
    }
  });

  test("gives headers as plain data: no prototype, no __proto__, no integer that is not exact", () => {
    const text = `{"body": "", "headers": {"__proto__": {"x": 1}, "n": 12345678901234567890, "t": {"__type__": "uuid", "__value__": {"hex": "00"}}, "d": {"__proto__": 1, "k": [{"__proto__": 2}]}}, "properties": {}}`;

    const { headers } = readEnvelope(raw(text), "q").message;

    assert.equal(Object.getPrototypeOf(headers), null);
    assert.deepEqual(JSON.parse(JSON.stringify(headers)), {
      n: 12345678901234567000,
      t: { __type__: "uuid", __value__: { hex: "00" } },
      d: { k: [{}] },
    });
    const big = readEnvelope(raw('{"body": "", "headers": {"n": 12345678901234567890}, "properties": {}}'), "q");
    assert.equal(big.message.headers.n, "12345678901234567890");
  });

  test("is base64 where a body is no text, whatever the option says", () => {
    const message = (body: Buffer): WireMessage => ({ body, properties: {}, headers: {} });
    const target = { exchange: "", routingKey: "q" };

    const text = JSON.parse(
      writeEnvelope(message(Buffer.from("[[1], {}, {}]")), {}, target, "t", undefined),
    ) as Envelope;
    const bytes = JSON.parse(writeEnvelope(message(Buffer.from([0xff])), {}, target, "t", undefined)) as Envelope;

    assert.deepEqual([text.body, text.properties.body_encoding], ["[[1], {}, {}]", null]);
    assert.deepEqual([bytes.body, bytes.properties.body_encoding], ["/w==", "base64"]);
  });
});

describe("the record of a message in hand", () => {
  test("gives the envelope as it was written, with its exchange and key", () => {
    const file = new URL("redis_broker_keys_live_worker.json", FOLDER);
    const { keys } = JSON.parse(readFileSync(file, "utf8")) as {
      readonly keys: { readonly unacked: { readonly value: Record<string, string> } };
    };
    for (const [tag, text] of Object.entries(keys.unacked.value)) {
      const record = readRecord(Buffer.from(text));
      const [envelope, exchange, key] = JSON.parse(text) as [Envelope, string, string];

      assert.deepEqual([record?.exchange, record?.routingKey], [exchange, key]);
      assert.ok(text.includes(String(record?.raw)));
      assert.deepEqual(JSON.parse(String(record?.raw)), envelope);
      assert.equal(readEnvelope(record?.raw ?? Buffer.alloc(0), "q").tag, tag);
    }
    for (const [exchange, key] of [
      ["", "q"],
      ['quo"te\\', 'a", "b'],
      ["\\\\", ","],
      ["]", "ž"],
    ]) {
      const record = readRecord(
        raw(`[{"n": 1.0, "s": "\\", \\"]"},${JSON.stringify(exchange)} , ${JSON.stringify(key)}] `),
      );
      assert.deepEqual(
        [String(record?.raw), record?.exchange, record?.routingKey],
        [`{"n": 1.0, "s": "\\", \\"]"}`, exchange, key],
      );
    }
  });

  test("that is none is none", () => {
    for (const text of [
      "",
      "{}",
      "[1, 2]",
      '[{}, "a", 5]',
      '[{}, "a", "b", "c"]',
      "nonsense",
      '[{}, "a", "b"',
    ] as const) {
      assert.equal(readRecord(raw(text)), undefined, text);
    }
    assert.equal(readRecord(Buffer.from([0x5b, 0xff])), undefined);
  });
});
