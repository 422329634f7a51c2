import assert from "node:assert/strict";
import { test } from "node:test";
import { plainHeaders } from "../../../src/brokers/headers.ts";

test("headers are copied into plain data without prototypes", () => {
  const list: unknown[] = [1, undefined, new Uint8Array([0xc5, 0xbe])];
  const inner = { list, bad: Buffer.from([0xff]) };
  const from = { inner, big: 2n ** 60n, small: 7n, when: new Date(0), none: null, left: undefined };

  const headers = plainHeaders(from);
  list.push("later");

  assert.equal(Object.getPrototypeOf(headers), null);
  assert.equal(Object.getPrototypeOf(headers.inner), null);
  assert.deepEqual(JSON.parse(JSON.stringify(headers)), {
    inner: { list: [1, null, "ž"], bad: "/w==" },
    big: "1152921504606846976",
    small: 7,
    when: "1970-01-01T00:00:00.000Z",
    none: null,
  });
  assert.deepEqual(Object.keys(headers), ["inner", "big", "small", "when", "none"]);
});

test("a header named __proto__ is left out, at any depth", () => {
  const headers = plainHeaders(
    JSON.parse('{"__proto__": {"evil": 1}, "inner": {"__proto__": {"evil": 1}, "good": 1}}'),
  );

  assert.equal(JSON.stringify(headers), '{"inner":{"good":1}}');
});

test("what no broker carries is refused by its name", () => {
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ a: { b: [Number.NaN] } }, /"a\.b\[0\]" is NaN/],
    [{ a: () => 1 }, /"a" is a function/],
    [{ a: 2n ** 63n }, /"a" is an integer of more than 64 bits/],
    [{ a: new Date(Number.NaN) }, /"a" is a date/],
    [{ cyclic }, /nested deeper than 64/],
  ];
  for (const [headers, why] of wrong) {
    assert.throws(() => plainHeaders(headers), { code: "ERR_INVALID_INPUT", message: why });
  }
});
