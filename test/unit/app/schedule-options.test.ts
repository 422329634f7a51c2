import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { openApp } from "./schedule-app.ts";

describe("an option with a slip in it", () => {
  test("is refused by name, and nothing is scheduled, moved or taken back", async (t) => {
    const { app, tick } = openApp(t);
    const { id } = await tick.callAfter("1h", [1], { tags: ["a"] });
    const { schedule } = app;
    // As JavaScript calls it: the compiler would say so, too.
    const loose = (options: object) => options as never;

    for (const [call, message] of [
      [() => tick.callAfter(1, [1], loose({ tag: ["a"] })), /a callback has no option "tag"; did you mean "tags"\?/],
      [() => tick.callAt(new Date(), [1], loose({ countdown: 5 })), /a callback has no option "countdown"/],
      [() => tick.callAfter(1, [1], loose(["key"])), /takes its options as an object/],
      [() => schedule.cancel(id, loose({ runing: "abort" })), /cancel has no option "runing"; did you mean "running"/],
      [
        () => schedule.cancel(id, loose({ running: "kill" })),
        /cancel's running must be "abort", or left out, not "kill"/,
      ],
      [
        () => schedule.cancelAll({ tags: ["a"] }, loose({ dryrun: true })),
        /cancelAll has no option "dryrun"; did you mean "dryRun"\?/,
      ],
      [() => schedule.cancelAll({ tags: ["a"] }, loose({ running: "stop" })), /cancelAll's running must be "abort"/],
      [() => schedule.reschedule(id, loose({ by: "+1h", from: "now" })), /reschedule has no option "from"/],
    ] as const) {
      await assert.rejects(call(), { code: "ERR_INVALID_INPUT", message });
    }

    const { scheduled, cancelled } = await schedule.counts();
    assert.deepEqual([scheduled, cancelled], [1, 0]);
  });

  test("or a value that is none of its words is refused", async (t) => {
    const { app, tick } = openApp(t);
    for (const options of [{ onConflict: "replce" }, { misfire: "skp" }, { onLost: "retry" }]) {
      await assert.rejects(tick.callAfter(1, [1], options as never), { code: "ERR_INVALID_INPUT" });
    }
    assert.equal((await app.schedule.counts()).scheduled, 0);
  });
});
