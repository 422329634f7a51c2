import { randomUUID } from "node:crypto";
import { openMemoryResults } from "../../src/results/memory.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { resultBackendConformance } from "../../src/testing/result-backend-conformance.ts";

resultBackendConformance("memory", async () => {
  const url = `memory://${randomUUID()}`;
  const clock = new FakeClock();
  const backend = await openMemoryResults(url, { clock });
  return {
    backend,
    again: () => openMemoryResults(url, { clock }),
    pass: (ms) => clock.advance(ms),
    close: () => backend.close(),
  };
});
