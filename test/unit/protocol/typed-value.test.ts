import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { decodeJson, encodeJson, TypedValue } from "../../../src/protocol/json.ts";
import { code } from "./coded.ts";
import { vectors } from "./fixtures.ts";

describe("typed values", () => {
  for (const vector of vectors.json_typed_values) {
    test(`kombu's ${vector.json_text} is read as kombu reads it`, () => {
      if (typeof vector.back !== "string") {
        assert.throws(() => decodeJson(vector.json_text), code("ERR_TYPED_VALUE"));
        return;
      }
      const value = decodeJson(vector.json_text);
      const again = encodeJson(value);
      assert.deepEqual(decodeJson(again), value, "it comes back as it went");
      // What Python wrote without a Date in between goes back letter for letter, but for spaces.
      if (!(value instanceof Date))
        assert.equal(again, vector.json_text.replaceAll(": ", ":").replaceAll(", ", ",").replace("\\u017e", "ž"));
    });
  }

  test("a datetime is a Date when a Date holds all of it", () => {
    const read = (value: string) => decodeJson(`{"__type__": "datetime", "__value__": "${value}"}`);
    assert.deepEqual(read("2030-01-02T03:04:05.678000+00:00"), new Date("2030-01-02T03:04:05.678Z"));
    assert.deepEqual(read("2030-01-02T03:04:05+05:30"), new Date("2030-01-01T21:34:05Z"));
    assert.deepEqual(read("2030-01-02T03:04:05Z"), new Date("2030-01-02T03:04:05Z"));
    assert.deepEqual(
      read("2030-01-02T03:04:05.678901+00:00"),
      new TypedValue("datetime", "2030-01-02T03:04:05.678901+00:00"),
    );
    assert.deepEqual(
      read("2030-01-02T03:04:05"),
      new TypedValue("datetime", "2030-01-02T03:04:05"),
      "no offset, no moment",
    );
    assert.deepEqual(read("0001-01-01T00:00:00+23:59"), new TypedValue("datetime", "0001-01-01T00:00:00+23:59"));
    assert.deepEqual(read("1890-01-01T00:00:00+00:09:21"), new TypedValue("datetime", "1890-01-01T00:00:00+00:09:21"));
    for (const bad of ["tomorrow", "2030-02-30T00:00:00Z", "", "2030-01-02T25:00:00"]) {
      assert.throws(() => read(bad), code("ERR_TYPED_VALUE"), bad);
    }
  });

  test("every Date comes back as it went", () => {
    const min = new Date("0001-01-01T00:00:00.000Z");
    const max = new Date("9999-12-31T23:59:59.999Z");
    fc.assert(
      fc.property(fc.date({ min, max, noInvalidDate: true }), (date) => {
        assert.deepEqual(decodeJson(encodeJson([date])), [date]);
      }),
    );
  });

  test("bytes come back as they went, as text where they are UTF-8", () => {
    assert.deepEqual(decodeJson('{"__type__": "bytes", "__value__": "\\u017e"}'), new Uint8Array([0xc5, 0xbe]));
    assert.deepEqual(decodeJson('{"__type__": "base64", "__value__": "//4="}'), new Uint8Array([0xff, 0xfe]));
    assert.equal(encodeJson(Buffer.from("abc")), '{"__type__":"bytes","__value__":"abc"}');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        assert.deepEqual(decodeJson(encodeJson({ bytes })), { bytes });
      }),
    );
  });

  test("a wrong shape is refused", () => {
    for (const text of [
      '{"__type__": "nope", "__value__": 1}',
      '{"__type__": 1, "__value__": 1}',
      '{"__type__": ["bytes"], "__value__": "a"}',
      '{"__type__": "constructor", "__value__": "a"}',
      '{"__type__": "bytes", "__value__": 1}',
      '{"__type__": "bytes", "__value__": "\\ud800"}',
      '{"__type__": "base64", "__value__": "//4"}',
      '{"__type__": "base64", "__value__": "/*4="}',
      '{"__type__": "date", "__value__": "2030-13-01"}',
      '{"__type__": "date", "__value__": "2030-01-01T00:00:00"}',
      '{"__type__": "time", "__value__": "25:00"}',
      '{"__type__": "decimal", "__value__": "1.1.1"}',
      '{"__type__": "decimal", "__value__": ""}',
      '{"__type__": "uuid", "__value__": {"hex": "22"}}',
      '{"__type__": "uuid", "__value__": {"int": 5}}',
      '{"__type__": "uuid", "__value__": null}',
    ]) {
      assert.throws(() => decodeJson(text), code("ERR_TYPED_VALUE"), text);
    }
  });

  test("an object with one more key, or one less, is an object", () => {
    assert.deepEqual(decodeJson('{"__type__": "bytes", "__value__": "a", "x": 1}'), {
      __type__: "bytes",
      __value__: "a",
      x: 1,
    });
    assert.deepEqual(decodeJson('{"__type__": "nope"}'), { __type__: "nope" });
    assert.deepEqual(decodeJson('{"__value__": 1}'), { __value__: 1 });
  });

  test("TypedValue refuses what is not of its type, and is right for JSON.stringify too", () => {
    const uuid = new TypedValue("uuid", "2222222222224222822222222222ABCD");
    assert.equal(String(uuid), "22222222-2222-4222-8222-22222222abcd");
    assert.equal(JSON.stringify(uuid), '{"__type__":"uuid","__value__":{"hex":"2222222222224222822222222222abcd"}}');
    const withVersion = '{"__type__":"uuid","__value__":{"hex":"22222222222242228222222222222222","version":4}}';
    assert.equal(String(decodeJson(withVersion)), "22222222-2222-4222-8222-222222222222", "as kombu 5.3.0 wrote it");
    assert.throws(
      () => new TypedValue("decimal", "one"),
      code("ERR_INVALID_INPUT", /"one" is not a value of the type "decimal"/),
    );
    assert.throws(() => new TypedValue("bytes" as "date", "x"), code("ERR_INVALID_INPUT"));
    for (const decimal of ["1.10", "-1E+5", "NaN", "sNaN1", "-Infinity", ".5", "5.", "1_000"]) {
      assert.equal(new TypedValue("decimal", decimal).value, decimal);
    }
  });
});
