import { join } from "node:path";
import { silentLogger } from "../../src/kit/log.ts";
import { PreforkPool } from "../../src/pool/prefork/prefork.ts";
import { poolConformance } from "../../src/testing/pool-conformance.ts";

const appPath = join(import.meta.dirname, "../support/apps/pool-tasks.ts");

poolConformance(
  "prefork",
  ({ size, ask }) => new PreforkPool({ size, ask, appPath, log: silentLogger, childLog: { level: "error" } }),
);
