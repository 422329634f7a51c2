import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { openApp } from "./schedule-app.ts";

const OWNER = { id: "sweeper" };

describe("the settings of the schedule", () => {
  test("resultExpires says how long ended callbacks are kept; those with a key stay for a week", async (t) => {
    const { app, tick } = openApp(t, { resultExpires: "1ms" });
    await tick.callAfter("1h", [1], { key: "keyed" });
    const { id } = await tick.callAfter("1h", [2]);
    await app.schedule.cancelAll({}, { everything: true });
    const store = await app.backends.store();

    // The store's clock is the machine's here: its millisecond is over after some turns.
    for (let turns = 0; turns < 1e6 && (await app.schedule.get(id)) !== undefined; turns += 1) {
      await turn();
      await store.sweep(OWNER, 100);
    }

    assert.equal(await app.schedule.get(id), undefined);
    assert.equal((await app.schedule.get("keyed"))?.state, "cancelled");
  });

  test("a resultExpires of 0 keeps them for ever", async (t) => {
    const { app, tick } = openApp(t, { resultExpires: 0 });
    const { id } = await tick.callAfter("1h", [1]);
    await app.schedule.cancel(id);

    const { ended, more } = await (await app.backends.store()).sweep(OWNER, 100);

    assert.deepEqual([ended, more], [[], false]);
    assert.equal((await app.schedule.get(id))?.state, "cancelled");
  });

  test("maxPending is said as what it is, and what was refused can be added once there is room", async (t) => {
    const { app, tick } = openApp(t, { maxPending: 2 });
    await tick.callAfter("1h", [1], { key: "a" });
    await tick.callAfter("1h", [2]);

    await assert.rejects(tick.callAfter("1h", [3]), {
      name: "BackpressureError",
      code: "ERR_BACKPRESSURE",
      message: "the schedule holds its limit of 2 live callbacks: wait until some have ended, or raise maxPending",
      limit: 2,
    });
    await assert.rejects(tick.callRepeatedly({ every: "1h" }, [3]), { code: "ERR_BACKPRESSURE" });

    await app.schedule.cancel("a");
    await tick.callAfter("1h", [3]);
    assert.equal((await app.schedule.counts()).scheduled, 2);
  });
});
