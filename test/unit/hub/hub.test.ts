import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Hub, type HubOptions } from "../../../src/hub/hub.ts";
import { createLogger, silentLogger } from "../../../src/kit/log.ts";
import { FakeClock, type FakeClockOptions } from "../../../src/testing/fake-clock.ts";

const DAY_MS = 86_400_000;

function setUp(options: Partial<HubOptions> = {}, clockOptions: FakeClockOptions = {}) {
  const clock = new FakeClock({ wallMs: 1_900_000_000_000, ...clockOptions });
  const lines: string[] = [];
  const log = createLogger({ destination: (line) => lines.push(line), clock });
  const hub = new Hub({ clock, log, ...options });
  const fired: string[] = [];
  const note = (name: string) => () => {
    fired.push(`${name} at ${clock.monoMs()}`);
  };
  return { clock, hub, fired, note, lines };
}

describe("the hub", () => {
  test("runs each callback once, in due order, over one armed timeout", async () => {
    const { clock, hub, fired, note } = setUp();
    hub.afterMs(30, note("c"));
    hub.afterMs(10, note("a"));
    hub.afterMs(20, note("b"));
    hub.afterMs(0, note("now"));
    hub.afterMs(-5, note("overdue"));
    assert.equal(clock.pending, 1);
    assert.equal(hub.size, 5);

    await clock.advance(100);

    assert.deepEqual(fired, ["now at 0", "overdue at 0", "a at 10", "b at 20", "c at 30"]);
    assert.equal(hub.size, 0);
    assert.equal(clock.pending, 0);
  });

  test("is never early, though each timeout wakes early and delays have fractions", async () => {
    for (const earlyWakeMs of [0.06, 1, 1.94]) {
      const { clock, hub } = setUp({}, { earlyWakeMs });
      await clock.advance(0.37);
      const early: number[] = [];
      let runs = 0;
      for (let i = 0; i < 200; i++) {
        const dueMs = clock.monoMs() + i * 3.31;
        const dueWallMs = clock.wallMs() + i * 7;
        hub.afterMs(i * 3.31, () => {
          runs += 1;
          if (clock.monoMs() < dueMs) early.push(dueMs - clock.monoMs());
        });
        hub.atWallMs(dueWallMs, () => {
          runs += 1;
          if (clock.wallMs() < dueWallMs) early.push(dueWallMs - clock.wallMs());
        });
      }
      await clock.advance(3_000);
      assert.equal(runs, 400);
      assert.deepEqual(early, []);
    }
  });

  test("is at most a millisecond and a fraction late when the event loop is free", async () => {
    const { clock, hub } = setUp({}, { earlyWakeMs: 1.2 });
    let worst = 0;
    for (let i = 1; i < 500; i++) {
      const dueMs = i * 11.7;
      hub.afterMs(dueMs, () => {
        worst = Math.max(worst, clock.monoMs() - dueMs);
      });
    }
    await clock.advance(10_000);
    assert.ok(worst < 1, String(worst));
  });

  test("waits longer than Node's longest timeout, by a delay and by the wall", async () => {
    const { clock, hub, fired, note } = setUp({ clockCheckMs: 3_600_000 });
    hub.afterMs(60 * DAY_MS, note("delay"));
    hub.atWallMs(clock.wallMs() + 90 * DAY_MS, note("wall"));
    hub.afterMs(400 * DAY_MS, note("over a year"));

    await clock.advance(90 * DAY_MS);
    assert.deepEqual(fired, [`delay at ${60 * DAY_MS}`, `wall at ${90 * DAY_MS}`]);
    await clock.advance(310 * DAY_MS);
    assert.deepEqual(fired.at(-1), `over a year at ${400 * DAY_MS}`);
  });

  test("arms again for what is added for earlier", async () => {
    const { clock, hub, fired, note } = setUp();
    hub.afterMs(50_000, note("late"));
    await clock.advance(10);
    hub.afterMs(5, note("soon"));
    assert.equal(clock.nextInMs, 5);
    await clock.advance(5);
    assert.deepEqual(fired, ["soon at 15"]);
  });

  test("lets go of a cancelled entry at once, and of its timeout when nothing is left", async () => {
    const { clock, hub, fired, note } = setUp();
    const entries = Array.from({ length: 1_000 }, (_, i) => hub.afterMs(10 + i, note(String(i))));
    const kept = hub.afterMs(500, note("kept"));
    for (const entry of entries) entry.cancel();
    for (const entry of entries) entry.cancel();
    assert.equal(hub.size, 1);
    assert.equal(entries[0]?.active, false);
    assert.equal(kept.active, true);

    kept.cancel();
    assert.equal(clock.pending, 0);
    await clock.advance(10_000);
    assert.deepEqual(fired, []);

    hub.afterMs(7, note("after idleness"));
    await clock.advance(7);
    assert.deepEqual(fired, ["after idleness at 10007"]);
  });

  test("takes cancels and additions from inside a callback", async () => {
    const { clock, hub, fired, note } = setUp();
    const victim = hub.afterMs(10, note("victim"), { priority: 1 });
    const self = hub.afterMs(10, () => {
      assert.equal(self.active, false);
      self.cancel();
      victim.cancel();
      hub.afterMs(0, note("added"));
    });
    await clock.advance(20);
    assert.deepEqual(fired, ["added at 10"]);
    assert.equal(hub.size, 0);
  });

  test("logs a callback that throws or rejects, and runs the others", async () => {
    const { clock, hub, fired, note, lines } = setUp();
    hub.afterMs(10, () => {
      throw new Error("sync\nboom");
    });
    hub.afterMs(10, async () => {
      throw new Error("async boom");
    });
    // biome-ignore lint/suspicious/noThenProperty: a foreign promise is what is tested
    hub.afterMs(10, () => ({ then: (_: unknown, fail: (error: unknown) => void) => fail("thenable boom") }));
    hub.afterMs(10, note("fine"));
    hub.afterMs(20, note("later"));
    await clock.advance(30);
    assert.deepEqual(fired, ["fine at 10", "later at 20"]);
    assert.deepEqual(
      lines.map((line) => line.replace(/^.*Process\] /, "")),
      ["Error in timer error=sync\\nboom", 'Error in timer error="thenable boom"', 'Error in timer error="async boom"'],
    );
  });

  test("orders entries of the same moment by priority, then as they were added", async () => {
    const { clock, hub, fired } = setUp();
    for (const [name, priority] of [
      ["p6", 6],
      ["p0", 0],
      ["p1", 1],
      ["p0b", 0],
    ] as const) {
      hub.afterMs(5, () => fired.push(name), { priority });
    }
    await clock.advance(5);
    assert.deepEqual(fired, ["p0", "p0b", "p1", "p6"]);
  });

  test("gives the event loop its turn when very much is due at once", async () => {
    const { clock, hub } = setUp();
    let ran = 0;
    const seenByOthers: number[] = [];
    for (let i = 0; i < 10_000; i++) hub.afterMs(10, () => ran++);
    const watch = () => {
      seenByOthers.push(ran);
      if (ran > 0 && ran < 10_000) setImmediate(watch);
    };
    hub.afterMs(10, () => setImmediate(watch), { priority: -1 });
    await clock.advance(10);

    assert.equal(ran, 10_000);
    const longest = Math.max(...seenByOthers.map((count, i) => count - (seenByOthers[i - 1] ?? 0)));
    assert.ok(seenByOthers.length > 50, `${seenByOthers.length} turns`);
    assert.ok(longest <= 256, `${longest} callbacks in one turn`);
  });

  test("is not starved by a callback that always adds another for now", async () => {
    const { clock, hub, fired, note } = setUp();
    let rounds = 0;
    const again = () => {
      if (++rounds < 5_000) hub.afterMs(0, again);
    };
    hub.afterMs(1, again);
    hub.afterMs(2, note("other"));
    await clock.advance(2);
    assert.equal(rounds, 5_000);
    assert.deepEqual(fired, ["other at 2"]);
  });

  test("refuses what is no moment or priority", () => {
    const { hub } = setUp();
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => hub.afterMs(wrong, () => {}), RangeError);
      assert.throws(() => hub.atWallMs(wrong, () => {}), RangeError);
    }
    for (const priority of [256, -256, 0.5, Number.NaN]) {
      assert.throws(() => hub.afterMs(1, () => {}, { priority }), RangeError);
    }
    assert.equal(hub.size, 0);
  });
});

describe("a hub that is stopped", () => {
  test("runs nothing more and holds nothing; twice is once; nothing can be added", async () => {
    const { clock, hub, fired, note } = setUp();
    hub.afterMs(5, note("a"));
    hub.atWallMs(clock.wallMs() + 5, note("b"));
    hub.onClockStep(() => fired.push("step"));
    hub.stop();
    hub.stop();
    assert.equal(clock.pending, 0);
    assert.equal(hub.size, 0);
    clock.stepWall(60_000);
    await clock.advance(10_000);
    assert.deepEqual(fired, []);
    assert.throws(() => hub.afterMs(1, note("c")), { code: "ERR_CLOSED" });
    assert.throws(() => hub.atWallMs(1, note("c")), { code: "ERR_CLOSED" });
    hub.onClockStep(() => {})();
    assert.equal(clock.pending, 0);
  });

  test("by one of its own callbacks runs none of those that are due with it", async () => {
    const { clock, hub, fired, note } = setUp();
    hub.afterMs(5, () => hub.stop());
    for (let i = 0; i < 300; i++) hub.afterMs(5, note("other"));
    await clock.advance(100);
    assert.deepEqual(fired, []);
    assert.equal(clock.pending, 0);
  });

  test("between two turns of a long batch runs the rest no more", async () => {
    const { clock, hub } = setUp();
    let ran = 0;
    for (let i = 0; i < 1_000; i++) hub.afterMs(5, () => ran++);
    hub.afterMs(5, () => setImmediate(() => hub.stop()), { priority: -1 });
    await clock.advance(100);
    assert.ok(ran > 0 && ran < 1_000, String(ran));
  });
});

describe("when the wall is stepped", () => {
  test("what waits by the wall follows it, what waits by a delay does not", async () => {
    const { clock, hub, fired, note } = setUp();
    const startMs = clock.wallMs();
    hub.atWallMs(startMs + 3_600_000, note("wall"));
    hub.afterMs(3_600_000, note("delay"));

    await clock.advance(10_000);
    clock.stepWall(1_800_000); // half an hour on
    await clock.advance(1_790_000);
    assert.deepEqual(fired, ["wall at 1800000"]);
    await clock.advance(1_800_000);
    assert.deepEqual(fired.at(-1), "delay at 3600000");
  });

  test("past what waits by it, that runs within the check's period", async () => {
    const { clock, hub, fired, note } = setUp();
    hub.atWallMs(clock.wallMs() + 3_600_000, note("wall"));
    await clock.advance(500);
    clock.stepWall(7_200_000);
    await clock.advance(1_000);
    assert.deepEqual(fired, ["wall at 1000"]);
  });

  test("back while something is about to run, that waits again", async () => {
    const { clock, hub, fired, note } = setUp();
    hub.atWallMs(clock.wallMs() + 10_000, note("wall"));
    await clock.advance(9_999);
    clock.stepWall(-60_000);
    await clock.advance(60_000);
    assert.deepEqual(fired, []);
    await clock.advance(1);
    assert.deepEqual(fired, ["wall at 70000"]);
  });

  test("by more than 250 ms, listeners are told once each, with its size", async () => {
    const { clock, hub } = setUp();
    const seen: string[] = [];
    const stop = hub.onClockStep((stepMs) => seen.push(`first ${stepMs}`));
    hub.onClockStep((stepMs) => seen.push(`second ${stepMs}`));
    await clock.advance(5_000);
    clock.stepWall(250);
    await clock.advance(5_000);
    assert.deepEqual(seen, []);

    clock.stepWall(-3_600_000);
    await clock.advance(1_000);
    assert.deepEqual(seen, ["first -3600000", "second -3600000"]);

    stop();
    stop();
    clock.stepWall(251);
    await clock.advance(5_000);
    assert.deepEqual(seen.slice(2), ["second 251"]);
  });

  test("one listener that throws is logged and the next is told", async () => {
    const { clock, hub, lines } = setUp();
    let told = 0;
    hub.onClockStep(() => {
      throw new Error("boom");
    });
    hub.onClockStep(() => told++);
    clock.stepWall(1_000);
    await clock.advance(1_000);
    assert.equal(told, 1);
    assert.match(lines.join("\n"), /Error in timer error=boom/);
  });

  test("before anybody cared, nobody is told of it", async () => {
    const { clock, hub } = setUp();
    const seen: number[] = [];
    hub.afterMs(10_000_000, () => {});
    clock.stepWall(5_000_000);
    hub.onClockStep((stepMs) => seen.push(stepMs));
    await clock.advance(2_000);
    assert.deepEqual(seen, []);
  });

  test("a hub whose last listener left holds no timeout", async () => {
    const { clock, hub } = setUp();
    const stop = hub.onClockStep(() => {});
    assert.equal(clock.pending, 1);
    stop();
    assert.equal(clock.pending, 0);
  });
});

test("any mixture of delays, moments, cancels and steps fires each once, never early, and never lost", async () => {
  const action = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant("after" as const), n: fc.nat(20_000) }) },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant("at" as const), n: fc.integer({ min: -5_000, max: 20_000 }) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("cancel" as const), n: fc.nat(100) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant("step" as const), n: fc.integer({ min: -10_000, max: 10_000 }) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("advance" as const), n: fc.nat(5_000) }) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(action, { maxLength: 40 }),
      fc.double({ min: 0, max: 2, noNaN: true }),
      async (actions, earlyWakeMs) => {
        const { clock, hub } = setUp({ log: silentLogger }, { earlyWakeMs });
        const runs: number[] = [];
        const entries: { cancel(): void; active: boolean }[] = [];
        const cancelled = new Set<number>();
        for (const { do: what, n } of actions) {
          const id = entries.length;
          const dueMono = clock.monoMs() + n;
          const dueWall = clock.wallMs() + n;
          runs[id] ??= 0;
          if (what === "after") {
            entries.push(
              hub.afterMs(n, () => {
                assert.ok(clock.monoMs() >= dueMono);
                runs[id] = (runs[id] ?? 0) + 1;
              }),
            );
          } else if (what === "at") {
            entries.push(
              hub.atWallMs(dueWall, () => {
                assert.ok(clock.wallMs() >= dueWall);
                runs[id] = (runs[id] ?? 0) + 1;
              }),
            );
          } else if (what === "cancel" && entries.length > 0) {
            const victim = n % entries.length;
            if (runs[victim] === 0) cancelled.add(victim);
            entries[victim]?.cancel();
          } else if (what === "step") clock.stepWall(n);
          else if (what === "advance") await clock.advance(n);
        }
        await clock.advance(500_000);
        for (const id of entries.keys()) assert.equal(runs[id], cancelled.has(id) ? 0 : 1, `entry ${id}`);
        assert.equal(hub.size, 0);
        assert.equal(clock.pending, 0);
      },
    ),
    { numRuns: 100 },
  );
});

test("a hub on the machine's clock is never early, and keeps the process alive only if asked", () => {
  const modules = ["hub/hub.ts", "kit/clock.ts", "kit/log.ts"].map(
    (path) => new URL(`../../../src/${path}`, import.meta.url).href,
  );
  const program = (ref: boolean) => `
    const [{ Hub }, { systemClock }, { silentLogger }] = await Promise.all(${JSON.stringify(modules)}.map((m) => import(m)));
    const hub = new Hub({ clock: systemClock, log: silentLogger, ref: ${ref} });
    let early = 0, runs = 0;
    for (let i = 0; i < 300; i++) {
      const delay = i * 0.37, due = performance.now() + delay, wall = Date.now() + (i % 100);
      hub.afterMs(delay, () => { runs++; if (performance.now() < due) early++; });
      hub.atWallMs(wall, () => { runs++; if (Date.now() < wall) early++; });
    }
    process.on("exit", () => console.log(JSON.stringify({ runs, early })));`;
  const run = (ref: boolean) => {
    const done = spawnSync(process.execPath, ["--input-type=module", "-e", program(ref)], { encoding: "utf8" });
    assert.equal(done.status, 0, done.stderr);
    return JSON.parse(done.stdout);
  };
  assert.deepEqual(run(true), { runs: 600, early: 0 });
  assert.deepEqual(run(false), { runs: 0, early: 0 });
});
