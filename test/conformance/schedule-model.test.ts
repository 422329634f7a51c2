/** M1: random lives of a schedule, against a model. A failing one is printed with its seed. */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { openMemorySchedule } from "../../src/schedule/stores/memory.ts";
import { openSqliteSchedule } from "../../src/schedule/stores/sqlite.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { commands, live, MODEL_LIMITS, SideBySide } from "./schedule-commands.ts";

const HANG = { timeout: 120_000 };
/** The same lives each time, and some that nobody has seen. */
const seeds = [20_261_122, Number(process.env.LOVAGE_TEST_SEED ?? Date.now() % 2 ** 31)];

for (const seed of seeds) {
  const lives = (numRuns: number) => ({ seed, numRuns, endOnFailure: false, verbose: fc.VerbosityLevel.None });

  test(`the memory store does what the model does (seed ${seed})`, HANG, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(commands, { maxLength: 60, size: "max" }), async (life) => {
        const clock = new FakeClock();
        const store = openMemorySchedule({ clock, limits: MODEL_LIMITS });
        await live(new SideBySide(store, clock, async () => store), life);
      }),
      lives(500),
    );
  });

  test(`the sqlite store does what the model does, reopened in between (seed ${seed})`, HANG, async () => {
    const folder = await mkdtemp(join(tmpdir(), "lovage-model-"));
    const path = join(folder, "lovage.db");
    const kept = await openSqliteSchedule(path, { durability: "process" });
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(commands, { maxLength: 60, size: "max" }), async (life) => {
          const clock = new FakeClock();
          const namespace = randomUUID();
          const open = () =>
            openSqliteSchedule(path, { namespace, clock, limits: MODEL_LIMITS, durability: "process" });
          let store = await open();
          const both = new SideBySide(store, clock, async () => {
            await store.close();
            store = await open();
            return store;
          });
          // Owners are the file's: those of another life must not be taken for ours.
          for (const id of ["alice", "bob"]) await store.enlist({ id }, []);
          try {
            await live(both, life);
          } finally {
            await store.close();
          }
        }),
        lives(150),
      );
    } finally {
      await kept.close();
      await rm(folder, { recursive: true, force: true });
    }
  });
}
