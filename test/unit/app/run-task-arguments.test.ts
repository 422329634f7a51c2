import assert from "node:assert/strict";
import { test } from "node:test";
import { bindArguments } from "../../../src/app/bind-arguments.ts";
import type { StandardSchema, TaskOptions } from "../../../src/app/task-options.ts";

type Args = readonly unknown[];
type Kwargs = Readonly<Record<string, unknown>>;

async function bind(options: TaskOptions, args: Args, kwargs: Kwargs = {}): Promise<Args> {
  const bound = await bindArguments({ name: "shop.remind", options, handler: () => 1 }, args, kwargs);
  assert.ok("args" in bound, JSON.stringify(bound));
  return bound.args;
}

async function refused(options: TaskOptions, args: Args, kwargs: Kwargs = {}) {
  const bound = await bindArguments({ name: "shop.remind", options, handler: () => 1 }, args, kwargs);
  assert.ok("failure" in bound, JSON.stringify(bound));
  const { exc_type, exc_module, exc_message } = bound.failure.exception;
  assert.equal(exc_message.length, 1);
  return [exc_type, exc_module, exc_message[0]];
}

const params = ["order", "channel", "urgent"];

test("without names, positional arguments are passed as they are", async () => {
  assert.deepEqual(await bind({}, [1, null, { a: 1 }]), [1, null, { a: 1 }]);
  assert.deepEqual(await bind({}, []), []);
});

test("keyword arguments are bound to their names, in any order; what lies between is left to the handler's defaults", async () => {
  assert.deepEqual(await bind({ params }, ["42"], { channel: "sms" }), ["42", "sms"]);
  assert.deepEqual(await bind({ params }, [], { urgent: true, order: "42" }), ["42", undefined, true]);
  assert.deepEqual(await bind({ params }, ["42", "mail", false]), ["42", "mail", false]);
  assert.deepEqual(await bind({ params }, []), []);
});

test("what does not fit is refused with Python's words, as Python's TypeError", async () => {
  const typeError = (message: string) => ["TypeError", "builtins", message];
  assert.deepEqual(await refused({}, [], { x: 1 }), typeError("shop.remind() got an unexpected keyword argument 'x'"));
  assert.deepEqual(
    await refused({ params }, [], { ["__proto__"]: 1, constructor: 2 }),
    typeError("shop.remind() got an unexpected keyword argument '__proto__'"),
  );
  assert.deepEqual(
    await refused({ params }, ["42"], { order: "43" }),
    typeError("shop.remind() got multiple values for argument 'order'"),
  );
  assert.deepEqual(
    await refused({ params }, [1, 2, 3, 4]),
    typeError("shop.remind() takes 3 positional arguments but 4 were given"),
  );
  assert.deepEqual(
    await refused({ params: ["x"] }, [1, 2]),
    typeError("shop.remind() takes 1 positional argument but 2 were given"),
  );
  assert.deepEqual(
    await refused({ params: [] }, [1]),
    typeError("shop.remind() takes 0 positional arguments but 1 was given"),
  );
});

function schema(validate: StandardSchema["~standard"]["validate"]): StandardSchema {
  return { "~standard": { version: 1, vendor: "test", validate } };
}

test("a schema sees the arguments as an object by their names, and what it makes of them is what the handler gets", async () => {
  const seen: unknown[] = [];
  const input = schema((value) => {
    seen.push(value);
    return Promise.resolve({
      value: { ...(value as object), channel: "mail", order: Number((value as Kwargs).order) },
    });
  });
  assert.deepEqual(await bind({ params, input }, ["42"]), [42, "mail"]);
  assert.deepEqual(await bind({ params, input }, [], { order: "7", urgent: true }), [7, "mail", true]);
  assert.deepEqual(seen, [{ order: "42" }, { order: "7", urgent: true }]);
});

test("a schema's issues fail the task in one readable line with their places", async () => {
  const issues = [
    { message: "expected a number", path: ["order"] },
    { message: "unknown street", path: [{ key: "address" }, "street", 0] },
    { message: "too urgent" },
  ];
  assert.deepEqual(await refused({ params, input: schema(() => ({ issues })) }, ["x"]), [
    "ValidationError",
    null,
    "shop.remind() got invalid arguments: order: expected a number; address.street.0: unknown street; too urgent",
  ]);
  const many = Array.from({ length: 40 }, (_, i) => ({ message: `m${i}` }));
  const [, , line] = await refused({ params, input: schema(() => ({ issues: many })) }, ["x"]);
  assert.equal(line, "shop.remind() got invalid arguments: m0; m1; m2; m3; m4; and 35 more");
});

test("a schema is not asked about arguments that do not bind, and must answer an object", async () => {
  const input = schema(() => assert.fail("it was asked"));
  assert.equal((await refused({ params, input }, [], { x: 1 }))[0], "TypeError");
  for (const value of [undefined, null, "text"]) {
    assert.match(String((await refused({ params, input: schema(() => ({ value })) }, []))[2]), /must answer an object/);
  }
  await assert.rejects(
    async () =>
      bindArguments(
        {
          name: "t",
          handler: () => 1,
          options: { params, input: schema(() => Promise.reject(new RangeError("its own"))) },
        },
        [],
        {},
      ),
    { message: "its own" },
  );
});
