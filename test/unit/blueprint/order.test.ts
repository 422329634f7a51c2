import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { startOrder } from "../../../src/blueprint/order.ts";
import { type AnyStep, given } from "../../../src/blueprint/step.ts";

function step(name: string, needs: readonly string[] = [], last?: boolean): AnyStep {
  return {
    name,
    needs: Object.fromEntries(needs.map((need) => [need.replaceAll("-", "_"), given(need)])),
    ...(last === undefined ? {} : { last }),
    start: () => ({}),
  };
}

function order(...steps: AnyStep[]): string[] {
  return startOrder("worker", steps).map((each) => each.name);
}

describe("the order of steps", () => {
  test("is as declared where nothing else asks for another", () => {
    assert.deepEqual(order(step("c"), step("a"), step("b")), ["c", "a", "b"]);
    assert.deepEqual(order(), []);
  });

  test("puts each step after what it needs", () => {
    assert.deepEqual(order(step("pool", ["hub"]), step("timer", ["hub"]), step("hub")), ["hub", "pool", "timer"]);
    assert.deepEqual(order(step("d", ["b", "c"]), step("b", ["a"]), step("c", ["a"]), step("a")), ["a", "b", "c", "d"]);
  });

  test("puts a last step after every other, and what needs one after it", () => {
    assert.deepEqual(order(step("consumer", ["pool"], true), step("pool"), step("http")), ["pool", "http", "consumer"]);
    assert.deepEqual(
      order(step("after", ["consumer"]), step("consumer", [], true), step("pool"), step("beat", [], true)),
      ["pool", "consumer", "after", "beat"],
    );
  });

  test("passes over needs that are no steps of this blueprint", () => {
    assert.deepEqual(order(step("a", ["settings", "b"]), step("b", ["outer-part"])), ["b", "a"]);
  });

  test("names the steps of a cycle, from one to itself", () => {
    const cases: [AnyStep[], string][] = [
      [[step("a", ["b"]), step("b", ["a"])], "a -> b -> a"],
      [[step("a", ["a"])], "a -> a"],
      [[step("x", ["c"]), step("a", ["b"]), step("b", ["c"]), step("c", ["a"])], "c -> a -> b -> c"],
    ];
    for (const [steps, cycle] of cases) {
      assert.throws(() => order(...steps), {
        code: "ERR_STEP_CYCLE",
        message: `steps of the worker blueprint need each other: ${cycle}; remove one of these needs`,
        cycle: cycle.split(" -> "),
      });
    }
  });

  test("refuses two steps of one name", () => {
    assert.throws(() => order(step("a"), step("b"), step("a")), {
      code: "ERR_STEP_DUPLICATE",
      step: "a",
      message: 'the worker blueprint has two steps named "a"; rename one, or add it once',
    });
  });

  test("refuses what is no step, in one line that says what is", () => {
    const start = () => ({});
    const wrong: [unknown, RegExp][] = [
      [null, /a step of the worker blueprint must be an object; it was null/],
      ["timer", /must be an object; it was timer/],
      [{ start }, /must have a name in lower case.*it was undefined/],
      [{ name: "My Step", start }, /must have a name in lower case.*it was "My Step"/],
      [{ name: "a--b", start }, /must have a name in lower case/],
      [{ name: "a" }, /step "a" must have a function "start"; it was undefined/],
      [{ name: "a", needs: "timer", start }, /"needs" of step "a" must name a step, such as \{ timer: timerStep \}/],
      [{ name: "a", needs: { timer: undefined }, start }, /need "timer" of step "a" must name a step/],
    ];
    for (const [value, message] of wrong) {
      assert.throws(() => order(step("ok"), value as AnyStep), { code: "ERR_INVALID_INPUT", message });
    }
  });

  test("is right and the same each time, for any set of steps", () => {
    const graphs = fc.array(fc.record({ needs: fc.array(fc.nat(14), { maxLength: 4 }), last: fc.boolean() }), {
      minLength: 1,
      maxLength: 15,
    });
    fc.assert(
      fc.property(graphs, fc.nat(), (nodes, turn) => {
        // Needs point to a lower number only, so that there is no cycle; declared in another order.
        const steps = nodes.map((node, i) =>
          step(`s${i}`, i === 0 ? [] : node.needs.map((need) => `s${need % i}`), node.last),
        );
        const declared = [...steps.slice(turn % steps.length), ...steps.slice(0, turn % steps.length)];
        const names = order(...declared);
        assert.equal(new Set(names).size, steps.length);
        assert.deepEqual(order(...declared), names);
        for (const each of steps) {
          for (const need of Object.values(each.needs ?? {})) {
            assert.ok(names.indexOf(need.name) < names.indexOf(each.name), `${need.name} before ${each.name}`);
          }
        }
      }),
    );
  });

  test("does not mind a thousand steps in a row", () => {
    const steps = Array.from({ length: 1_000 }, (_, i) => step(`s${i}`, i === 999 ? [] : [`s${i + 1}`]));
    assert.deepEqual(order(...steps).slice(0, 2), ["s999", "s998"]);
  });
});
