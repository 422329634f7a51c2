/** A worker whose schedule is in PostgreSQL: nothing else of the application changes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { Lovage } from "../../src/app/app.ts";
import { atEnd } from "../support/cleanup.ts";
import { needPostgres, ownSchema } from "../support/postgres.ts";
import { startWorker } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";

const { skip } = await needPostgres();
const APP = join(import.meta.dirname, "../support/apps/tx-app.ts");

describe("a worker with its schedule in PostgreSQL", { skip }, () => {
  test("runs what is due and nothing that was cancelled, and another goes on when it is killed", async (t) => {
    const folder = await tempDir(t);
    const { url } = ownSchema(t);
    const env = {
      LOVAGE_BROKER_URL: `sqlite:${join(folder, "broker.db")}`,
      LOVAGE_SCHEDULE_URL: url,
      LOVAGE_SCHEDULE_LEASE: "1s",
      LOVAGE_NAMESPACE: "shop",
    };
    const app = new Lovage("shop", {}, { env });
    atEnd(t, () => app.close());
    const remind = app.task("shop.remind", async () => undefined);
    const first = startWorker(t, { app: APP, args: ["-c", "1", "-l", "info"], env });
    await first.waitForLine(/schedule: postgres:\/\/.*, strict/);

    const kept = await remind.callAfter("30d", [], { key: "kept" });
    const now = await remind.callAfter(0, []);
    await first.waitForLine(new RegExp(`shop\\.remind\\[${now.id}\\] succeeded`));
    while ((await now.get())?.state === "running"); // the line comes before the commit
    assert.equal((await now.get())?.state, "succeeded");
    assert.equal(await kept.cancel(), "cancelled");

    await first.kill9();
    const later = await remind.callAfter(0, []);
    const second = startWorker(t, { app: APP, args: ["-c", "1", "-l", "info"], env });
    await second.waitForLine(new RegExp(`shop\\.remind\\[${later.id}\\] succeeded`));
    assert.equal((await second.stop()).status, 0, second.text);
    assert.equal((await kept.get())?.state, "cancelled");
  });
});
