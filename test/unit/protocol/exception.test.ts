import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { TaskError } from "../../../src/app/task-error.ts";
import { exceptionOf } from "../../../src/protocol/exception.ts";
import { encodeJson } from "../../../src/protocol/json.ts";

class PaymentError extends Error {}
class NamedError extends TypeError {
  override readonly name = "DeclinedError";
}

const shown = (thrown: unknown) => {
  const { exc_type, exc_message, exc_module } = exceptionOf(thrown).exception;
  return [exc_type, exc_message, exc_module];
};

describe("exceptionOf", () => {
  test("names an error by what it calls itself, else by its class", () => {
    assert.deepEqual(shown(new Error("x")), ["Error", ["x"], null]);
    assert.deepEqual(shown(new PaymentError("x")), ["PaymentError", ["x"], null]);
    assert.deepEqual(shown(new NamedError("x")), ["DeclinedError", ["x"], null]);
    assert.deepEqual(shown(Object.assign(new Error("x"), { name: "Renamed" })), ["Renamed", ["x"], null]);
    assert.deepEqual(shown(new DOMException("x", "AbortError")), ["AbortError", ["x"], null]);
    assert.deepEqual(shown(new Error()), ["Error", [], null]);
    assert.deepEqual(shown(new RangeError("x")), ["RangeError", ["x"], null]);
  });

  test("gives Python its own error where it has one of that name, and it is safe to raise", () => {
    assert.deepEqual(shown(new TypeError("x")), ["TypeError", ["x"], "builtins"]);
    assert.deepEqual(shown(Object.assign(new Error("x"), { name: "ValueError" })), ["ValueError", ["x"], "builtins"]);
    for (const name of [
      "SystemExit",
      "KeyboardInterrupt",
      "StopIteration",
      "UnicodeDecodeError",
      "ReferenceError",
      "MemoryError",
    ]) {
      assert.deepEqual(shown(Object.assign(new Error("x"), { name })), [name, ["x"], null]);
    }
  });

  test("takes an error's own word for what Python is to be given", () => {
    class CardDeclined extends Error {
      readonly excModule = "shop.errors";
      get excArgs(): unknown[] {
        return [this.message, 51, Number.NaN, 12345678901234567890n, new Map([["a", 1]]), () => 1];
      }
    }
    assert.deepEqual(shown(new CardDeclined("no")), [
      "CardDeclined",
      ["no", 51, Number.NaN, 12345678901234567890n, "{'a': 1}", "<function>"],
      "shop.errors",
    ]);
    const nested = Object.assign(new Error("x"), { excType: "Outer.Inner", excModule: "m", excArgs: [] });
    assert.deepEqual(shown(nested), ["Outer.Inner", [], "m"]);
    assert.deepEqual(shown(Object.assign(new Error("x"), { excType: "KeyError" })), ["KeyError", ["x"], "builtins"]);
    for (const name of ["SystemExit", "KeyboardInterrupt", "StopIteration"]) {
      const error = Object.assign(new Error("x"), { excType: name, excModule: "builtins" });
      assert.deepEqual(shown(error), [name, ["x"], null]);
    }
  });

  test("fails for Python with the class of what another task threw, and shows that one's traceback", () => {
    const python = { exc_type: "ValueError", exc_message: ["boom", 42], exc_module: "builtins" };
    const thrown = new TaskError("t-1", python, "Traceback (most recent call last): …");
    assert.deepEqual(shown(thrown), ["ValueError", ["boom", 42], "builtins"]);
    assert.match(
      exceptionOf(thrown).traceback ?? "",
      /^TaskError: task t-1 failed[\s\S]+\n\nCaused by: in task t-1:\nTraceback \(most recent/,
    );
  });

  test("makes a name that Python can give to a class", () => {
    for (const [name, expected] of [
      ["a\0b", "ab"],
      ["\0", "Error"],
      ["\ud800x", "\ufffdx"],
      ["x".repeat(300), "x".repeat(255)],
    ]) {
      assert.equal(exceptionOf(Object.assign(new Error("x"), { name })).exception.exc_type, expected);
    }
  });

  test("shows the stacks of several errors in one", () => {
    const { traceback } = exceptionOf(new AggregateError([new TypeError("one"), new RangeError("two"), 7], "both"));
    assert.match(
      traceback ?? "",
      /^AggregateError: both\n[\s\S]+\nCaused by: TypeError: one\n[\s\S]+\nCaused by: RangeError: two\n/,
    );
  });

  test("takes errors of another realm, and what has a message", () => {
    assert.deepEqual(shown(runInNewContext("new TypeError('x')")), ["TypeError", ["x"], "builtins"]);
    assert.deepEqual(shown({ message: "x" }), ["Error", ["x"], null]);
    assert.deepEqual(shown({ name: "HttpError", message: "x" }), ["HttpError", ["x"], null]);
  });

  test("takes what is no error", () => {
    assert.deepEqual(shown("boom"), ["Error", ["boom"], null]);
    assert.deepEqual(shown(null), ["Error", ["null was thrown"], null]);
    assert.deepEqual(shown(undefined), ["Error", ["undefined was thrown"], null]);
    assert.deepEqual(shown(42), ["Error", [42], null]);
    assert.deepEqual(shown({ code: 1, of: [2] }), ["Error", [{ code: 1, of: [2] }], null]);
    assert.deepEqual(shown(new Map([["a", 1]])), ["Error", ["{'a': 1}"], null], "what cannot be sent goes as its repr");
    assert.deepEqual(
      shown(() => 1),
      ["Error", ["<function>"], null],
    );
    assert.equal(exceptionOf("boom").traceback, null);
  });

  test("shows it on one line, as Python shows an exception", () => {
    assert.equal(exceptionOf(new TypeError("it's not a function")).text, "TypeError('it\\'s not a function')");
    assert.equal(exceptionOf(new Error("two\nlines")).text, "Error('two lines')");
    assert.equal(exceptionOf(new Error()).text, "Error()");
  });

  test("keeps the stack, and those of the causes", () => {
    const root = new Error("root");
    const { traceback } = exceptionOf(new PaymentError("top", { cause: new Error("middle", { cause: root }) }));
    assert.match(
      traceback ?? "",
      /^Error: top\n {4}at [\s\S]+\n\nCaused by: Error: middle\n[\s\S]+\n\nCaused by: Error: root\n/,
    );
    const loop = new Error("a");
    loop.cause = new Error("b", { cause: loop });
    assert.equal(exceptionOf(loop).traceback?.split("Caused by").length, 2);
    assert.equal(exceptionOf({ name: "N", message: "m" }).traceback, "N: m");
  });

  test("is bounded", () => {
    const { exception, text, traceback } = exceptionOf(
      Object.assign(new Error("x".repeat(10_000_000)), { name: "N".repeat(10_000) }),
    );
    assert.ok(encodeJson(exception).length < 70_000);
    assert.ok(text.length < 2_000);
    assert.ok((traceback ?? "").length < 70_000);
    assert.equal(encodeJson(exceptionOf({ data: "x".repeat(10_000_000) }).exception).length < 3_000, true);
  });

  test("never throws, and what it gives can be stored", () => {
    const no = () => {
      throw new Error("no");
    };
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const evil: unknown[] = [
      { toString: no, toJSON: no },
      { get message() { return no(); } }, // biome-ignore format: one line is enough
      Object.defineProperty(new Error("x"), "message", { get: no }),
      Object.defineProperty(new Error("x"), "stack", { get: no }),
      Object.defineProperty(new Error("x"), "name", { value: Symbol("n") }),
      Object.assign(new Error("x"), { constructor: null }),
      Object.assign(new Error("x"), { name: "", message: 5 }),
      Object.create(null),
      new Proxy({}, { get: no, getPrototypeOf: no, has: no, ownKeys: no }),
      proxy,
      Symbol("x"),
      10n ** 5_000n,
      Number.NaN,
      "\ud800",
    ];
    for (const thrown of evil) {
      const { exception, text, traceback } = exceptionOf(thrown);
      assert.doesNotThrow(() => encodeJson(exception));
      assert.equal(typeof text, "string");
      assert.ok(traceback === null || typeof traceback === "string");
    }
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true }),
        (thrown) => {
          assert.doesNotThrow(() => encodeJson(exceptionOf(thrown).exception));
        },
      ),
    );
  });
});
