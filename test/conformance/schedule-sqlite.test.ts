import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { openSqliteSchedule } from "../../src/schedule/stores/sqlite.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { scheduleStoreConformance } from "../../src/testing/schedule-store-conformance.ts";

const folder = await mkdtemp(join(tmpdir(), "lovage-schedule-"));
const path = join(folder, "lovage.db");
/** Open all the time: the file's thread is started once, and not for each test. */
const kept = await openSqliteSchedule(path);
after(async () => {
  await kept.close();
  await rm(folder, { recursive: true, force: true });
});

scheduleStoreConformance("sqlite", async (options = {}) => {
  const clock = new FakeClock();
  // One file for all, each test in a namespace of its own: what one does, another must not see.
  const namespace = randomUUID();
  const open = () => openSqliteSchedule(path, { namespace, clock, durability: "process", ...options });
  const store = await open();
  const others: Awaited<ReturnType<typeof open>>[] = [];
  const other = async () => {
    const opened = await open();
    others.push(opened);
    return opened;
  };
  return {
    store,
    clock,
    other,
    close: async () => void (await Promise.all([store, ...others].map((each) => each.close()))),
  };
});
