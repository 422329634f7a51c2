import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ClosedError,
  ContractError,
  InvalidInputError,
  LostError,
  OutcomeUnknownError,
  TimeoutError,
  UnavailableError,
} from "../../../src/kit/errors.ts";
import { fromRemoteError, isRemoteError, toRemoteError } from "../../../src/pool/prefork/remote-error.ts";

/** There and back, through JSON. */
function cross(thrown: unknown): Error & { readonly [field: string]: unknown } {
  const remote: unknown = JSON.parse(JSON.stringify(toRemoteError(thrown)));
  assert.ok(isRemoteError(remote));
  return fromRemoteError(remote) as Error & { readonly [field: string]: unknown };
}

class KeyTaken extends ContractError {
  readonly code = "ERR_KEY_TAKEN";
  readonly id = "cb-1";
  readonly many = [1, 2];
}

test("family, code, name, message and plain fields cross; the rest stays", () => {
  const error = cross(new KeyTaken("key is taken", { cause: new Error("inner") }));
  assert.ok(error instanceof ContractError);
  assert.deepEqual(
    [error.code, error.name, error.message, error.id, error.many, error.cause],
    ["ERR_KEY_TAKEN", "KeyTaken", "key is taken", "cb-1", undefined, undefined],
  );
});

test("the errors that programs compare by class are of that class again", () => {
  const unknown = cross(new OutcomeUnknownError("the call", "order-7"));
  assert.ok(unknown instanceof OutcomeUnknownError);
  assert.deepEqual([unknown.key, unknown.code], ["order-7", "ERR_OUTCOME_UNKNOWN"]);
  assert.match(unknown.message, /^it is not known whether the call took effect/);
  for (const each of [new ClosedError("c"), new TimeoutError("t"), new InvalidInputError("i")]) {
    const crossed = cross(each);
    assert.ok(crossed instanceof each.constructor);
    assert.equal(crossed.message, each.message);
  }
});

test("each family stays itself, and what is none of ours keeps the system's code", () => {
  class Away extends UnavailableError {
    readonly code = "ERR_AWAY";
  }
  class Gone extends LostError {
    readonly code = "ERR_GONE";
  }
  assert.ok(cross(new Away("x")) instanceof UnavailableError);
  assert.ok(cross(new Gone("x")) instanceof LostError);
  const system = cross(Object.assign(new RangeError("no space"), { code: "ENOSPC", errno: -28 }));
  assert.deepEqual([system.name, system.code, system.errno], ["RangeError", "ENOSPC", -28]);
  assert.equal(cross(new Error("plain")).code, undefined);
});

test("whatever was thrown, there is an error", () => {
  const evil = new Proxy(new Error("x"), {
    get: () => {
      throw new Error("no");
    },
    getPrototypeOf: () => {
      throw new Error("no");
    },
  });
  for (const thrown of [undefined, null, 7, "text", {}, evil, Symbol("s")]) {
    assert.ok(cross(thrown) instanceof Error);
  }
  assert.equal(cross("text").message, "text");
});

test("fields cannot replace what an error is", () => {
  const error = fromRemoteError({
    family: "lost",
    code: "ERR_X",
    name: "X",
    message: "m",
    fields: { code: "ERR_Y", stack: "forged", ["__proto__"]: 1, fine: true } as Record<
      string,
      string | number | boolean
    >,
  });
  assert.deepEqual(
    [(error as unknown as LostError).code, (error as unknown as { fine: boolean }).fine],
    ["ERR_X", true],
  );
  assert.notEqual(error.stack, "forged");
  assert.ok(error instanceof LostError);
});
