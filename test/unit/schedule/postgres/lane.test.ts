import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ClosedError } from "../../../../src/kit/errors.ts";
import { StoreFullError, StoreOperationError, StoreUnavailableError } from "../../../../src/kit/store-errors.ts";
import { AnswerLostError } from "../../../../src/schedule/stores/postgres/failure.ts";
import { Lane, type Op } from "../../../../src/schedule/stores/postgres/lane.ts";

interface Named extends Op {
  readonly name: string;
}

const named = (name: string, bytes = 10): Named => ({ name, what: `doing ${name}`, key: name, bytes });
const closed = () => new ClosedError("the lane was closed");
/** As PostgreSQL refuses a statement. */
const refusal = Object.assign(new Error("no"), { severity: "ERROR", code: "22003" });

/** A lane whose statements wait until they are let go. */
function rig(answer: (ops: readonly Named[]) => Promise<unknown[]>) {
  const statements: string[] = [];
  const lane = new Lane<Named>((ops) => {
    statements.push(ops.map(({ name }) => name).join(""));
    return answer(ops);
  }, closed);
  return { lane, statements };
}

describe("a lane", () => {
  test("makes one statement of what is asked in a turn, and in the turn that follows from it", async () => {
    const { lane, statements } = rig(async (ops) => ops.map(({ name }) => name.toUpperCase()));
    const first = [lane.do(named("a")), lane.do(named("b"))];
    const late = new Promise<unknown>((resolve) => setImmediate(() => resolve(lane.do(named("c")))));
    assert.deepEqual(await Promise.all([...first, late]), ["A", "B", "C"]);
    assert.deepEqual(statements, ["abc"]);
  });

  test("gathers while one is under way, and sends no more than a statement takes", async () => {
    const gates: (() => void)[] = [];
    const { lane, statements } = rig(
      (ops) => new Promise((resolve) => gates.push(() => resolve(ops.map(({ name }) => name)))),
    );
    const asked = [lane.do(named("a"))];
    while (gates.length === 0) await new Promise((resolve) => setImmediate(resolve));
    for (const name of ["b", "c", "d"]) asked.push(lane.do(named(name, name === "c" ? 2_000_000 : 10)));
    for (let i = 0; i < 4; i++) {
      gates[i]?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.deepEqual(await Promise.all(asked), ["a", "b", "c", "d"]);
    assert.deepEqual(statements, ["a", "b", "c", "d"], "c is so large that it goes alone");
  });

  test("tries each alone when the server refuses them together, and only the one that is wrong fails", async () => {
    const { lane, statements } = rig(async (ops) => {
      if (ops.some(({ name }) => name === "b")) throw new StoreOperationError("refused", { cause: refusal });
      return ops.map(({ name }) => name);
    });
    const outcomes = await Promise.allSettled(["a", "b", "c"].map((name) => lane.do(named(name))));
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.deepEqual(statements, ["abc", "a", "b", "c"]);
  });

  test("does not try again what is away or full for all", async () => {
    for (const error of [new StoreUnavailableError("away"), new StoreFullError("full", { cause: refusal })]) {
      const { lane, statements } = rig(async () => Promise.reject(error));
      const outcomes = await Promise.allSettled(["a", "b"].map((name) => lane.do(named(name))));
      assert.deepEqual(
        outcomes.map(({ status }) => status),
        ["rejected", "rejected"],
      );
      assert.deepEqual(statements, ["ab"]);
    }
  });

  test("says of each that its outcome is unknown when the answer is lost, with its own key", async () => {
    const { lane } = rig(async () => Promise.reject(new AnswerLostError("gone")));
    const asked = ["a", "b"].map((name) => lane.do(named(name)));
    for (const [i, key] of ["a", "b"].entries()) {
      await assert.rejects(asked[i] as Promise<unknown>, { code: "ERR_OUTCOME_UNKNOWN", key, message: /doing [ab]/ });
    }
  });

  test("does what was asked before it was closed, and nothing after", async () => {
    const { lane, statements } = rig(async (ops) => ops.map(({ name }) => name));
    const asked = lane.do(named("a"));
    const closing = lane.close();
    await assert.rejects(lane.do(named("b")), { code: "ERR_CLOSED" });
    assert.equal(await asked, "a");
    await closing;
    assert.deepEqual(statements, ["a"]);
  });
});
