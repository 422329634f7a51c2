import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteBroker } from "../../src/brokers/sqlite.ts";
import { brokerConformance } from "../../src/testing/broker-conformance.ts";

brokerConformance("sqlite", { fanout: false }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "lovage-"));
  const broker = await openSqliteBroker(join(folder, "broker.db"));
  return {
    broker,
    keepsPlace: true,
    sever: () => broker.sever(),
    close: async () => {
      await broker.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
});
