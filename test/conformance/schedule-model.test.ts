import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { openMemorySchedule } from "../../src/schedule/stores/memory.ts";
import { openSqliteSchedule } from "../../src/schedule/stores/sqlite.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { modelTest } from "./schedule-model-test.ts";
import { MODEL_LIMITS } from "./schedule-side-by-side.ts";

modelTest(
  "memory",
  async () => {
    const clock = new FakeClock();
    const store = openMemorySchedule({ clock, limits: MODEL_LIMITS });
    return { store, clock, reopen: async () => store, close: () => store.close() };
  },
  800,
);

const folder = await mkdtemp(join(tmpdir(), "lovage-model-"));
const path = join(folder, "lovage.db");
/** Open all the time: the file's thread is started once, and not for each life. */
const kept = await openSqliteSchedule(path, { durability: "process" });
after(async () => {
  await kept.close();
  await rm(folder, { recursive: true, force: true });
});

modelTest(
  "sqlite",
  async () => {
    const clock = new FakeClock();
    const namespace = randomUUID();
    const open = () => openSqliteSchedule(path, { namespace, clock, limits: MODEL_LIMITS, durability: "process" });
    let store = await open();
    const reopen = async () => {
      await store.close();
      store = await open();
      return store;
    };
    return { store, clock, reopen, close: () => store.close() };
  },
  300,
);
