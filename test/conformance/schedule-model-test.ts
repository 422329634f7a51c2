/** M1: random lives of a schedule store, against the model. A failing one is printed with its seed. */
import { test } from "node:test";
import fc from "fast-check";
import type { ScheduleStore } from "../../src/schedule/store.ts";
import type { FakeClock } from "../../src/testing/fake-clock.ts";
import { commands, live, OWNERS } from "./schedule-commands.ts";
import { SideBySide } from "./schedule-side-by-side.ts";

const HANG = { timeout: 120_000 };
/** The same lives each time, and some that nobody has seen. */
const SEEDS = [20_261_122, Number(process.env.LOVAGE_TEST_SEED ?? Date.now() % 2 ** 31)];

/** A store with `MODEL_LIMITS` and nothing in it, for one life. */
export interface StoreOfALife {
  readonly store: ScheduleStore;
  readonly clock: FakeClock;
  /** Close it, and open the same schedule again. */
  reopen(): Promise<ScheduleStore>;
  /** Close what is open now. */
  close(): Promise<void>;
}

/** @param runs lives for each seed */
export function modelTest(name: string, open: () => Promise<StoreOfALife>, runs: number): void {
  for (const seed of SEEDS) {
    test(`the ${name} store does what the model does (seed ${seed})`, HANG, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(commands, { maxLength: 60, size: "max" }), async (life) => {
          const { store, clock, reopen, close } = await open();
          try {
            const both = new SideBySide(store, clock, reopen);
            // Owners may be those of the file, or of the server: that one died in another life must not count in this one.
            for (const id of OWNERS) await both.enlist(id, []);
            await live(both, life);
          } finally {
            await close();
          }
        }),
        { seed, numRuns: runs, endOnFailure: false, verbose: fc.VerbosityLevel.None },
      );
    });
  }
}
