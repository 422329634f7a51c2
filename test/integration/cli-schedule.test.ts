/** The schedule's commands, on a file that other processes use, too. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { Lovage } from "lovage";
import { atEnd } from "../support/cleanup.ts";
import { runCli } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";

async function openWorld(t: TestContext) {
  const env = { LOVAGE_BROKER_URL: `sqlite:${join(await tempDir(t), "cli.db")}` };
  const app = new Lovage("cli-schedule-test", {}, { env });
  const tick = app.task("cli.tick", (n: number) => n);
  atEnd(t, () => app.close());
  const schedule = (...args: string[]) => runCli(t, ["schedule", ...args], { env });
  return { app, tick, schedule };
}

const linesOf = (text: string) => text.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);

describe("lovage schedule", () => {
  test("lists what a filter finds, page by page, as a table and as JSON", async (t) => {
    const { tick, schedule } = await openWorld(t);
    for (let n = 1; n <= 3; n++) {
      await tick.callAt(new Date(Date.UTC(2099, 0, n)), [n], {
        key: `order:${n}`,
        tags: [n === 2 ? "even" : "odd"],
        queue: "q",
      });
    }

    const odd = await schedule(
      "list",
      "--tag",
      "odd",
      "--key-prefix",
      "order:",
      "--due-from",
      "2099-01-01T01:00",
      "--timezone",
      "Europe/Berlin",
    );
    const first = await schedule("list", "--limit", "2", "--json");
    const [, cursor = ""] = /--cursor (\S+)/.exec(first.stderr) ?? [];
    const rest = await schedule("list", "--cursor", cursor, "--json");
    const none = await schedule("list", "--queue", "other");

    assert.match(odd.stdout, /^id +key +state +due +queue +call\n\S+ +order:1 .* in 72 y|order:1/);
    assert.equal(odd.stdout.split("\n").length, 3);
    assert.deepEqual(
      linesOf(first.stdout).map(({ key }) => key),
      ["order:1", "order:2"],
    );
    assert.deepEqual(
      linesOf(rest.stdout).map(({ key, state, tags }) => ({ key, state, tags })),
      [{ key: "order:3", state: "scheduled", tags: ["odd"] }],
    );
    assert.equal(rest.stderr, "");
    assert.equal(none.stdout, "no callbacks");
  });

  test("cancels many: told what first, then done, and counted", async (t) => {
    const { app, tick, schedule } = await openWorld(t);
    for (let n = 0; n < 5; n++) await tick.callAfter("1h", [n], { tags: ["customer:7"] });
    await tick.callAfter("1h", [9], { tags: ["vip"] });

    const dry = await schedule("cancel-all", "--tag", "customer:7", "--dry-run");
    const before = await app.schedule.counts();
    const done = await schedule("cancel-all", "--tag", "customer:7", "--json");
    const counts = await schedule("counts", "--json");
    const both = await schedule("cancel-all", "--tag", "customer:7", "--tag", "vip", "--dry-run");
    const all = await schedule("cancel-all", "--everything");

    assert.match(dry.stdout, /^cancelled: 5\nstopped: +0\nrunning: +0\nfinished: +0\nunknown: +0$/);
    assert.equal(before.scheduled, 6);
    assert.deepEqual(JSON.parse(done.stdout), {
      cancelled: 5,
      stopped: 0,
      running: 0,
      finished: 0,
      unknown: 0,
      dryRun: false,
    });
    assert.equal(done.stderr, "", "no progress line where nobody watches");
    const { scheduled, cancelled } = JSON.parse(counts.stdout) as Record<string, number>;
    assert.deepEqual([scheduled, cancelled], [1, 5]);
    assert.match(both.stdout, /^cancelled: 0$/m, "a tag that is given beside another narrows, and does not replace it");
    assert.match(all.stdout, /^cancelled: 1$/m);
    assert.deepEqual([dry.status, done.status, counts.status, all.status], [0, 0, 0, 0]);
  });

  test("shows, pauses, resumes, previews and cancels what recurs", async (t) => {
    const { tick, schedule } = await openWorld(t);
    const when = { cron: "30 2 * * *", timezone: "Europe/Berlin", startAt: "2099-03-28T00:00:00Z" };
    const { id } = await tick.callRepeatedly(when, [1], {
      key: "nightly",
      misfire: "skip",
      misfireGrace: "10m",
      jitter: 30,
    });

    const table = await schedule("recurrences");
    const got = await schedule("get", "nightly");
    const json = await schedule("get", id, "--json");
    const preview = await schedule("preview", "nightly", "-n", "2");
    const paused = await schedule("pause", "nightly");
    const again = await schedule("pause", "nightly", "--json");
    const empty = await schedule("list", "--recurrence", "nightly");
    const resumed = await schedule("resume", "nightly");
    const listed = await schedule("list", "--recurrence", "nightly", "--json");
    const cancelled = await schedule("cancel", "nightly");
    const late = await schedule("resume", "nightly");
    const nothing = await schedule("recurrences");

    assert.match(
      table.stdout,
      new RegExp(
        `${id} +nightly +active +2099-03-28T01:30:00.000Z .* cron 30 2 \\* \\* \\* \\(Europe/Berlin\\) +cli.tick\\(1\\)`,
      ),
    );
    assert.match(got.stdout, /^misfire: +skip, later than 10 m$/m);
    assert.match(got.stdout, /^jitter: +up to 30 s$/m);
    assert.equal((JSON.parse(json.stdout) as { jitter: number }).jitter, 30);
    assert.match(
      preview.stdout,
      /1 +2099-03-28T02:30:00\+01:00 +in .*\n2 +2099-03-29T03:00:00\+02:00 .*the clocks leave out its time/,
    );
    assert.equal(paused.stdout, "paused");
    assert.deepEqual(JSON.parse(again.stdout), { ref: "nightly", state: "paused", changed: false });
    assert.equal(empty.stdout, "no callbacks");
    assert.equal(resumed.stdout, "2099-03-28T01:30:00.000Z");
    assert.equal(linesOf(listed.stdout)[0]?.recurrence, id);
    assert.equal(cancelled.stdout, "cancelled");
    assert.equal(late.status, 1);
    assert.match(late.stderr, new RegExp(`recurrence ${id} has ended`));
    assert.equal(nothing.stdout, "no recurrences");
  });

  test("previews a rule without storing anything, also as JSON", async (t) => {
    const { app, schedule } = await openWorld(t);

    const cron = await schedule("preview", "--cron", "0 0 29 2 *", "--timezone", "Asia/Tokyo", "-n", "3", "--json");
    const every = await schedule("preview", "--every", "90m", "-n", "1");

    const times = linesOf(cron.stdout);
    assert.equal(times.length, 3);
    for (const { local, moved } of times) {
      assert.match(String(local), /^20\d\d-02-29T00:00:00\+09:00$/);
      assert.equal(moved, false);
    }
    assert.match(every.stdout, /^1 .*\+00:00 +in 1 h (?:29|30) m/m);
    for await (const each of app.schedule.recurrences()) assert.fail(each.id);
  });
});
