/** Matchers of errors. */
import assert from "node:assert/strict";

/** For `assert.throws`: the stable code, and a message of one line. */
export function code(expected: string, message?: RegExp): (error: unknown) => true {
  return (error) => {
    assert.equal((error as { code?: unknown }).code, expected);
    if (message !== undefined) assert.match((error as Error).message, message);
    assert.doesNotMatch((error as Error).message, /\n/, "an error is one line");
    return true;
  };
}
