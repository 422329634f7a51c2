import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { cancelAll } from "../../../src/app/cancel-all.ts";
import type { Ask } from "../../../src/pool/asks.ts";
import { type CancelPageAnswer, NONE_CANCELLED } from "../../../src/schedule/cancel-page.ts";
import { openApp } from "./schedule-app.ts";

describe("cancelAll", () => {
  test("takes back what the filter finds and nothing else, and tells how many after each page", async (t) => {
    const { app, tick } = openApp(t);
    for (let i = 0; i < 450; i++)
      await tick.callAfter("1h", [i], { tags: [i % 3 === 0 ? "fizz" : "plain"], key: `k${i}` });
    const progress: number[] = [];

    const counts = await app.schedule.cancelAll(
      { tags: ["plain"] },
      { onProgress: ({ cancelled }) => progress.push(cancelled) },
    );

    assert.deepEqual(counts, { ...NONE_CANCELLED, cancelled: 300 });
    assert.deepEqual(progress, [200, 300]);
    assert.deepEqual(
      await livingKeys(app),
      Array.from({ length: 150 }, (_, i) => `k${i * 3}`),
    );
  });

  test("as a dry run says the same, and leaves all as it was", async (t) => {
    const { app, tick } = openApp(t);
    for (const queue of ["mail", "mail", "sms"]) await tick.callAfter("1h", [1], { queue });

    const counts = await app.schedule.cancelAll({ queue: "mail" }, { dryRun: true });

    assert.deepEqual(counts, { ...NONE_CANCELLED, cancelled: 2 });
    assert.equal((await app.schedule.counts()).scheduled, 3);
  });

  test("of nothing answers noughts", async (t) => {
    const { app } = openApp(t);

    assert.deepEqual(await app.schedule.cancelAll({ task: "nobody's.*" }), NONE_CANCELLED);
  });

  test("refuses a filter that leaves nothing out, unless everything is meant", async (t) => {
    const { app, tick } = openApp(t);
    await tick.callAfter("1h", [1]);

    for (const vague of [
      {},
      { states: ["scheduled"] },
      { tags: [] },
      { keyPrefix: "" },
      { task: "*" },
      { timezone: "UTC" },
    ] as const) {
      await assert.rejects(app.schedule.cancelAll(vague), { code: "ERR_INVALID_INPUT", message: /leaves nothing out/ });
    }
    await assert.rejects(app.schedule.cancelAll({ queue: "mail" }, { everything: true }), /give the one that is meant/);
    assert.equal((await app.schedule.counts()).scheduled, 1);

    const counts = await app.schedule.cancelAll({ states: ["scheduled"] }, { everything: true });
    assert.equal(counts.cancelled, 1);
  });

  test("refuses a filter that would be wider than meant: a misspelt name, a value that is not there", async (t) => {
    const { app, tick } = openApp(t);
    await tick.callAfter("1h", [1], { queue: "mail" });

    await assert.rejects(
      app.schedule.cancelAll({ queue: "mail", tag: "customer:7" } as never),
      /no filter "tag"; did you mean "tags"/,
    );
    await assert.rejects(
      app.schedule.cancelAll({ queue: "mail", tags: undefined } as never),
      /was given tags: undefined/,
    );
    await assert.rejects(
      app.schedule.cancelAll({ queue: "mail", tags: "customer:7" } as never),
      /tags must be a list of texts/,
    );
    await assert.rejects(app.schedule.cancelAll(undefined as never), { code: "ERR_INVALID_INPUT" });
    assert.equal((await app.schedule.counts()).scheduled, 1);
  });

  test("comes to an end when others add faster than it can read, and says so", async () => {
    let pages = 0;
    const ask = (async () => {
      pages += 1;
      return { counts: NONE_CANCELLED, passed: 200, addedUntilMs: 1, next: `${pages}.1` } satisfies CancelPageAnswer;
    }) as unknown as Ask;

    await assert.rejects(cancelAll(ask, { queue: "busy" }, {}, 1_000), {
      code: "ERR_OVERTAKEN",
      message: /met 1200 callbacks that were added after it began/,
    });
    assert.equal(pages, 6);
  });
});

async function livingKeys(app: ReturnType<typeof openApp>["app"]): Promise<(string | undefined)[]> {
  const keys: (string | undefined)[] = [];
  for await (const { key } of app.schedule.list()) keys.push(key);
  return keys.sort((a, b) => Number(a?.slice(1)) - Number(b?.slice(1)));
}
