import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Hub } from "../../../src/hub/hub.ts";
import { Timer } from "../../../src/hub/timer.ts";
import { createLogger } from "../../../src/kit/log.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

function setUp() {
  const clock = new FakeClock({ wallMs: "2027-03-01T08:00:00Z" });
  const lines: string[] = [];
  const hub = new Hub({ clock, log: createLogger({ destination: (line) => lines.push(line), clock }) });
  const timer = new Timer(hub, clock);
  const fired: number[] = [];
  const note = () => {
    fired.push(clock.monoMs());
  };
  return { clock, hub, timer, fired, note, lines };
}

describe("the worker's timer", () => {
  test("calls after seconds or a text with a unit, at a moment, and again and again", async () => {
    const { clock, timer, lines } = setUp();
    const fired: string[] = [];
    const note = (name: string) => () => {
      fired.push(`${name} at ${clock.monoMs()}`);
    };
    timer.callAfter(1.5, note("seconds"));
    timer.callAfter("2500ms", note("text"));
    timer.callAt(new Date("2027-03-01T08:00:03Z"), note("Date"));
    timer.callAt("2027-03-01T09:00:04+01:00", note("offset"));
    timer.callAt("2027-03-01T09:00:05", note("zone"), { timezone: "Europe/Berlin" });
    timer.callAt("2020-01-01T00:00Z", note("past"));
    const repeated = timer.callRepeatedly(2, note("every 2 s"));
    assert.equal(timer.size, 7);

    await clock.advance(5_000);
    repeated.cancel();
    await clock.advance(10_000);

    assert.deepEqual(fired, [
      "past at 0",
      "seconds at 1500",
      "every 2 s at 2000",
      "text at 2500",
      "Date at 3000",
      "every 2 s at 4000",
      "offset at 4000",
      "zone at 5000",
    ]);
    assert.equal(timer.size, 0);
    assert.deepEqual(lines, []);
  });

  test("frees the place of a cancelled entry at once, and twice is once", () => {
    const { hub, timer, note } = setUp();
    const entries = [
      timer.callAfter(60, note),
      timer.callAt("2028-01-01T00:00Z", note),
      timer.callRepeatedly(60, note),
    ];
    assert.deepEqual([timer.size, hub.size], [3, 3]);
    for (const entry of entries) {
      assert.equal(entry.active, true);
      entry.cancel();
      entry.cancel();
      assert.equal(entry.active, false);
    }
    assert.deepEqual([timer.size, hub.size], [0, 0]);
  });

  test("counts its own entries, and not those of others in the hub", async () => {
    const { clock, hub, timer, note } = setUp();
    hub.afterMs(10, note);
    const entry = timer.callAfter(0.01, note);
    assert.equal(timer.size, 1);
    await clock.advance(10);
    assert.equal(timer.size, 0);
    assert.equal(entry.active, false);
    entry.cancel();
    assert.equal(timer.size, 0);
  });

  test("orders calls of the same moment by priority", async () => {
    const { clock, timer } = setUp();
    const fired: string[] = [];
    timer.callAfter(1, () => fired.push("6"), { priority: 6 });
    timer.callAfter(1, () => fired.push("0"));
    timer.callRepeatedly(1, () => fired.push("1"), { priority: 1 });
    timer.callAt("2027-03-01T08:00:01Z", () => fired.push("wall"), { priority: -3 });
    await clock.advance(1_000);
    assert.deepEqual(
      fired.filter((name) => name !== "wall"),
      ["0", "1", "6"],
    );
    assert.equal(fired.length, 4);
  });

  test("refuses bad input in one line that says what is right", () => {
    const { timer, note } = setUp();
    const wrong: [() => unknown, RegExp][] = [
      [() => timer.callAfter(-1, note), /^callAfter's delay -1 must not be negative$/],
      [() => timer.callAfter("soon", note), /^callAfter's delay "soon" must be a duration/],
      [() => timer.callAt("2027-03-01T09:00", note), /^callAt's moment "2027-03-01T09:00" has no offset/],
      [() => timer.callAt(5 as unknown as Date, note), /^callAt's moment must be a moment/],
      [() => timer.callRepeatedly(0, note), /^callRepeatedly's period must be longer than 0 seconds$/],
      [() => timer.callRepeatedly(Number.NaN, note), /^callRepeatedly's period NaN/],
      [() => timer.callAfter(1, "note" as unknown as () => void), /^a timer calls a function; it was given note$/],
      [() => timer.callRepeatedly(1, undefined as unknown as () => void), /^a timer calls a function/],
    ];
    for (const [call, message] of wrong) assert.throws(call, { code: "ERR_INVALID_INPUT", message });
    assert.equal(timer.size, 0);
  });
});

describe("a repeated call", () => {
  test("has its period from the start of the call before, without making up for what was missed", async () => {
    const { clock, timer, fired, note } = setUp();
    let slow = 0;
    timer.callRepeatedly(10, async () => {
      note();
      // The second call takes 34 s: three periods and a bit.
      if (++slow === 2) await new Promise<void>((resolve) => clock.timeout(resolve, 34_000));
    });
    await clock.advance(85_000);
    assert.deepEqual(fired, [10_000, 20_000, 54_000, 64_000, 74_000, 84_000]);
  });

  test("goes on after an exception, in its step, and each is logged", async () => {
    const { clock, timer, fired, note, lines } = setUp();
    timer.callRepeatedly(1, () => {
      note();
      if (fired.length % 2 === 1) throw new Error(`boom ${fired.length}`);
      return Promise.reject(new Error(`later boom ${fired.length}`));
    });
    await clock.advance(4_500);
    assert.deepEqual(fired, [1_000, 2_000, 3_000, 4_000]);
    assert.deepEqual(
      lines.map((line) => /error="?([^"]*)"?$/.exec(line)?.[1]),
      ["boom 1", "later boom 2", "boom 3", "later boom 4"],
    );
  });

  test("can be ended from inside, before or after something fails", async () => {
    const { clock, hub, timer, fired, note } = setUp();
    const entry = timer.callRepeatedly(1, () => {
      note();
      if (fired.length < 3) return;
      entry.cancel();
      throw new Error("last words");
    });
    await clock.advance(10_000);
    assert.deepEqual(fired, [1_000, 2_000, 3_000]);
    assert.deepEqual([timer.size, hub.size, entry.active], [0, 0, false]);
  });

  test("that was cancelled while its promise is pending does not come back", async () => {
    const { clock, hub, timer, fired, note } = setUp();
    const { promise, resolve } = Promise.withResolvers<void>();
    const entry = timer.callRepeatedly(1, () => {
      note();
      return promise;
    });
    await clock.advance(1_000);
    assert.deepEqual([timer.size, hub.size], [1, 0]);
    entry.cancel();
    resolve();
    await clock.advance(10_000);
    assert.deepEqual(fired, [1_000]);
    assert.equal(timer.size, 0);
  });

  test("ends with its hub, without a word, also while it runs", async () => {
    const { clock, hub, timer, fired, note, lines } = setUp();
    timer.callRepeatedly(1, async () => {
      note();
      hub.stop();
    });
    await clock.advance(10_000);
    assert.deepEqual(fired, [1_000]);
    assert.deepEqual(lines, []);
    assert.equal(timer.size, 0);
    assert.throws(() => timer.callAfter(1, note), { code: "ERR_CLOSED" });
    assert.equal(timer.size, 0);
  });
});
