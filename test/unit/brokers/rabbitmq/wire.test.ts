import assert from "node:assert/strict";
import { test } from "node:test";
import type { MessageProperties } from "amqplib";
import { fromWire, WireWriter } from "../../../../src/brokers/rabbitmq/wire.ts";

const decoded = (headers: Record<string, unknown>) =>
  fromWire(Buffer.from("x"), { headers } as unknown as MessageProperties).headers;
const encoded = (headers: Record<string, unknown>) =>
  new WireWriter().write({ body: Buffer.alloc(0), properties: {}, headers }).headers as Record<string, unknown>;

test("what AMQP has and JSON has not becomes plain data", () => {
  const headers = decoded({
    stamp: { "!": "timestamp", value: 1_893_456_000 },
    price: { "!": "decimal", value: { places: 2, digits: 1234 } },
    bytes: Buffer.from("žluť"),
    raw: Buffer.from([0xff, 0xfe]),
    list: [Buffer.from("a"), { "!": "timestamp", value: 0 }, null],
    table: { inner: { "!": "decimal", value: { places: 0, digits: 7 } } },
    long: 12345678901234567890n,
    short: 12n,
    none: null,
    yes: true,
  });

  assert.deepEqual(
    { ...headers, table: JSON.stringify(headers.table) },
    {
      stamp: "2030-01-01T00:00:00.000Z",
      price: 12.34,
      bytes: "žluť",
      raw: "//4=",
      list: ["a", "1970-01-01T00:00:00.000Z", null],
      table: '{"inner":7}',
      long: "12345678901234567890",
      short: 12,
      none: null,
      yes: true,
    },
  );
});

test("a table is an object without a prototype, whatever was assigned to it", () => {
  const poisoned: Record<string, unknown> = { task: "t", inner: {} };
  // As amqplib decodes a key __proto__: by assignment.
  Object.setPrototypeOf(poisoned, { evil: true });
  Object.setPrototypeOf(poisoned.inner, { evil: true });

  const headers = decoded(poisoned);

  assert.equal(Object.getPrototypeOf(headers), null);
  assert.equal(Object.getPrototypeOf(headers.inner), null);
  assert.equal((headers as { evil?: unknown }).evil, undefined);
  assert.deepEqual(Object.keys(headers), ["task", "inner"]);
});

test("a table that looks like a typed value, and one nested without end, harm nothing", () => {
  const headers = decoded({ a: { "!": "no such type", value: 1 }, b: { "!": "timestamp", value: Number.MAX_VALUE } });
  let deep: unknown = "bottom";
  for (let i = 0; i < 1_000; i += 1) deep = { deep };

  assert.equal(JSON.stringify(headers.a), '{"!":"no such type","value":1}');
  assert.equal(headers.b, Number.MAX_VALUE);
  assert.match(JSON.stringify(decoded({ deep })), /nested too deep/);
});

test("properties of other types than AMQP's are left out", () => {
  const { properties } = fromWire(Buffer.from("x"), {
    contentType: 7,
    deliveryMode: 3,
    priority: "9",
    correlationId: "id",
    messageId: "m",
  } as unknown as MessageProperties);

  assert.deepEqual(properties, { correlationId: "id" });
});

test("a small body does not keep the buffer alive that it was read from", () => {
  const chunk = Buffer.alloc(65_536, "x");

  const { body } = fromWire(chunk.subarray(10, 20), {} as MessageProperties);

  assert.equal(body.buffer.byteLength, 10);
  assert.equal(Buffer.from(body).toString(), "xxxxxxxxxx");
});

test("headers go out with the type that they have", () => {
  const headers = encoded({
    text: "a",
    int: 7,
    huge: 1e300,
    big: 2n ** 62n,
    when: new Date(1_500),
    bytes: new Uint8Array([1, 2]),
    list: [1, undefined, { deep: null }],
    left: undefined,
  });

  assert.deepEqual(
    JSON.parse(JSON.stringify(headers, (_, value) => (typeof value === "bigint" ? `${value}n` : value))),
    {
      text: "a",
      int: 7,
      huge: { "!": "double", value: 1e300 },
      big: { "!": "long", value: "4611686018427387904n" },
      when: { "!": "timestamp", value: 1 },
      bytes: { type: "Buffer", data: [1, 2] },
      list: [1, null, { deep: null }],
    },
  );
});

test("a header that AMQP cannot carry is refused by its name", () => {
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ stamps: { nan: Number.NaN } }, /"stamps\.nan" is NaN/],
    [{ inf: Number.NEGATIVE_INFINITY }, /"inf" is -Infinity/],
    [{ big: 2n ** 63n }, /"big" is an integer of more than 64 bits/],
    [{ list: [1, () => 1] }, /"list\[1\]" is a function/],
    [{ s: Symbol("x") }, /"s" is a symbol/],
    [{ a: { "!": "timestamp", value: 1 } }, /"a\.!"/],
    [{ ["k".repeat(256)]: 1 }, /longer than 255 bytes/],
    [{ old: new Date(-1) }, /"old" is a date/],
    [{ never: new Date(Number.NaN) }, /"never" is a date/],
    [{ cyclic }, /nested deeper than 64/],
  ];
  for (const [headers, why] of wrong)
    assert.throws(() => encoded(headers), { code: "ERR_INVALID_INPUT", message: why });
});

test("a writer that is used again carries nothing over from the message before", () => {
  const writer = new WireWriter();
  const write = (headers: Record<string, unknown>) =>
    JSON.stringify(writer.write({ body: Buffer.alloc(0), properties: {}, headers }).headers);

  assert.equal(write({ a: 1, b: { c: 2 } }), '{"a":1,"b":{"c":2}}');
  assert.equal(write({ a: undefined, b: 3 }), '{"b":3}');
  assert.equal(write({ b: 3, a: 1 }), '{"b":3,"a":1}');
  assert.equal(write({ a: 1 }), '{"a":1}');
  assert.throws(() => write({ a: Number.NaN }));
  assert.equal(write({ a: 2 }), '{"a":2}');
  assert.equal(write({}), "{}");
});
