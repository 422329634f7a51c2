import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Revoked } from "../../../src/worker/revoked.ts";

/** A store of which only tombstones count; its answers come when the test says so. */
function setUp() {
  const revokedIds = new Set<string>();
  const asked: string[][] = [];
  let listener: () => void = () => undefined;
  let failing: Error | undefined;
  const revoked = new Revoked({
    async revoked(ids) {
      asked.push([...ids]);
      await new Promise((resolve) => setImmediate(resolve));
      if (failing !== undefined) throw failing;
      return new Set(ids.filter((id) => revokedIds.has(id)));
    },
    onChange(each) {
      listener = () => each({});
      return () => {
        listener = () => undefined;
      };
    },
  });
  const turn = async () => {
    for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    revoked,
    asked,
    revokedIds,
    turn,
    change: () => listener(),
    fail: (error: Error | undefined) => {
      failing = error;
    },
  };
}

describe("the revoked ids of what is in hand", () => {
  test("are asked for together, once a turn", async () => {
    const { revoked, asked, revokedIds } = setUp();
    revokedIds.add("b");

    await Promise.all(["a", "b", "c"].map((id) => revoked.hold({ id: id })));

    assert.deepEqual(asked, [["a", "b", "c"]]);
    assert.deepEqual(
      [revoked.has({ id: "a" }), revoked.has({ id: "b" }), revoked.has({ id: "c" })],
      [false, true, false],
    );
  });

  test("are asked for again when another process changed something", async () => {
    const { revoked, revokedIds, turn, change, asked } = setUp();
    await revoked.hold({ id: "a" });
    assert.equal(revoked.has({ id: "a" }), false);

    revokedIds.add("a");
    change();
    await turn();

    assert.equal(revoked.has({ id: "a" }), true);
    assert.equal(asked.length, 2);
  });

  test("a change asks nothing while nothing is in hand, nor after the stop", async () => {
    const { revoked, turn, change, asked } = setUp();
    await revoked.hold({ id: "a" });
    revoked.drop({ id: "a" });
    change();
    await revoked.hold({ id: "b" });
    revoked.stop();
    change();
    await turn();

    assert.deepEqual(asked, [["a"], ["b"]]);
  });

  test("what this process revokes is known at once", async () => {
    const { revoked } = setUp();
    await revoked.hold({ id: "a" });

    revoked.mark("a", undefined);
    revoked.mark("not in hand", undefined);

    assert.equal(revoked.has({ id: "a" }), true);
    assert.equal(revoked.has({ id: "not in hand" }), false);
  });

  test("an id that is held twice is known until both let go", async () => {
    const { revoked, revokedIds } = setUp();
    revokedIds.add("a");
    await Promise.all([revoked.hold({ id: "a" }), revoked.hold({ id: "a" })]);

    revoked.drop({ id: "a" });
    assert.equal(revoked.has({ id: "a" }), true);
    revoked.drop({ id: "a" });
    assert.equal(revoked.has({ id: "a" }), false);
  });

  test("a store that does not answer fails who asked, and nobody later", async () => {
    const { revoked, fail } = setUp();
    fail(new Error("away"));
    await assert.rejects(revoked.hold({ id: "a" }), /away/);

    fail(undefined);
    await revoked.hold({ id: "b" });
    assert.equal(revoked.has({ id: "b" }), false);
  });

  test("ids that come while a question is on its way are asked together after it", async () => {
    const { revoked, asked } = setUp();
    const first = revoked.hold({ id: "a" });
    await new Promise((resolve) => process.nextTick(resolve));
    await Promise.all([first, revoked.hold({ id: "b" }), revoked.hold({ id: "c" })]);

    assert.deepEqual(asked, [["a"], ["b", "c"]]);
  });
});
