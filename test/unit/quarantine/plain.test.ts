import assert from "node:assert/strict";
import { test } from "node:test";
import { plainTable, plainText } from "../../../src/quarantine/plain.ts";

test("a password is masked wherever it stands, also where a text is cut", () => {
  const url = "amqp://guest:geheim@host/";
  for (const before of [0, 16_370, 65_500, 65_515, 65_530, 100_000]) {
    const { text } = plainTable({ text: `${"x ".repeat(before / 2)}${url}` });
    assert.doesNotMatch(String(text), /geh/, String(before));
  }
  const many = plainTable({ list: [url, { [url]: url }], nested: { api_key: "geheim", other: [url] } });
  assert.doesNotMatch(JSON.stringify(many), /geheim/);
  assert.match(JSON.stringify(many), /amqp:\/\/guest:\*\*@host/);
});

test("a text is cut between two characters, and says how long it was", () => {
  assert.equal(plainText("abc", 3), "abc");
  const cut = plainText("🐎".repeat(100), 60);
  assert.ok(cut.isWellFormed() && cut.length <= 60);
  assert.match(cut, /^🐎+… \(200 characters\)$/u);
  assert.equal(plainText("\ud800", 10), "\ufffd");
  assert.equal(plainText(undefined, 10), "undefined");
});

test("what is not cyclic but only shared is kept at each of its places", () => {
  const shared = { a: 1 };
  assert.deepEqual(
    JSON.stringify(plainTable({ one: shared, two: [shared, shared] })),
    '{"one":{"a":1},"two":[{"a":1},{"a":1}]}',
  );
});

test("a sparse array, a huge integer and an object with toJSON are data like any other", () => {
  const sparse: unknown[] = [];
  sparse[3] = "x";
  const table = plainTable({
    sparse,
    huge: 1n << 100_000n,
    negative: -(2n ** 64n),
    zero: -0,
    tricky: { toJSON: () => "not this", a: 1 },
  });
  const { tricky, ...rest } = JSON.parse(JSON.stringify(table));

  assert.deepEqual(rest, {
    sparse: [null, null, null, "x"],
    huge: "[an integer of more than 4096 bits]",
    negative: "-18446744073709551616",
    zero: 0,
  });
  assert.equal(tricky.a, 1);
});

test("what is no table is kept as one, and never throws", () => {
  assert.deepEqual({ ...plainTable(null) }, {});
  assert.deepEqual({ ...plainTable(undefined) }, {});
  assert.deepEqual({ ...plainTable("text") }, { "": "text" });
  assert.deepEqual({ ...plainTable([1, 2]) }, { "": [1, 2] });
  const hostile = new Proxy(
    {},
    {
      ownKeys() {
        throw Object.create(null);
      },
    },
  );
  assert.match(JSON.stringify(plainTable({ hostile })), /cannot be read/);
  assert.match(JSON.stringify(plainTable(hostile)), /cannot be read/);
});
