import assert from "node:assert/strict";
import { test } from "node:test";
import { sqliteCode, untilUnlocked } from "../../../src/sqlite/lock-wait.ts";

const sqliteError = (errcode: number) => Object.assign(new Error(`code ${errcode}`), { errcode });

/** Each look at the clock takes a millisecond. */
function ticking() {
  let nowMs = 0;
  return { monoMs: () => nowMs++ };
}

test("what is locked is tried again until it is not", () => {
  let left = 4;
  const answer = untilUnlocked(ticking(), 1_000, () => {
    left -= 1;
    if (left > 0) throw sqliteError(left % 2 === 0 ? 5 : 262); // busy, and locked (extended)
    return "done";
  });
  assert.deepEqual([answer, left], ["done", 0]);
});

test("after the deadline the last refusal is thrown", () => {
  let tries = 0;
  const busy = () => {
    tries += 1;
    throw sqliteError(5);
  };
  assert.throws(() => untilUnlocked(ticking(), 5, busy), /code 5/);
  assert.ok(tries > 1 && tries <= 7, `${tries} tries`);
});

test("any other refusal is thrown at once", () => {
  for (const error of [sqliteError(11), new TypeError("no")]) {
    let tries = 0;
    const attempt = () => {
      tries += 1;
      throw error;
    };
    assert.throws(() => untilUnlocked(ticking(), 1_000, attempt), error);
    assert.equal(tries, 1);
  }
});

test("the primary code is read from an extended one, and from nothing else", () => {
  assert.equal(sqliteCode(sqliteError(1_034)), 10);
  for (const other of [new Error("x"), { errcode: 5 }, undefined, Object.assign(new Error("x"), { errcode: "5" })]) {
    assert.equal(sqliteCode(other), undefined);
  }
});
