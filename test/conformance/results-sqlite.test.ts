import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteResults } from "../../src/results/sqlite.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { resultBackendConformance } from "../../src/testing/result-backend-conformance.ts";

resultBackendConformance("sqlite", async () => {
  const folder = await mkdtemp(join(tmpdir(), "lovage-"));
  const clock = new FakeClock();
  const open = () => openSqliteResults(join(folder, "results.db"), { clock, durability: "process" });
  const backend = await open();
  return {
    backend,
    again: open,
    pass: (ms) => clock.advance(ms),
    close: async () => {
      await backend.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
});
