import { openMemorySchedule } from "../../src/schedule/stores/memory.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { scheduleStoreConformance } from "../../src/testing/schedule-store-conformance.ts";

scheduleStoreConformance("memory", async (options = {}) => {
  const clock = new FakeClock();
  const store = openMemorySchedule({ clock, ...options });
  return { store, clock, other: async () => store, close: () => store.close() };
});
