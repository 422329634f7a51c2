import { openMemoryQuarantine } from "../../src/quarantine/memory.ts";
import { quarantineConformance } from "../../src/testing/quarantine-conformance.ts";

quarantineConformance("memory", async (options) => {
  const quarantine = openMemoryQuarantine(options);
  return { quarantine, close: () => quarantine.close() };
});
