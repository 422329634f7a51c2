/** A worker of a test: starts a pool whose children loop, says their pids, and waits for what comes. */
import { join } from "node:path";
import { PreforkPool } from "../../../src/pool/prefork/prefork.ts";
import { poolJob } from "../../../src/testing/pool-conformance.ts";

const [how = "", task = ""] = process.argv.slice(2);
const pool = new PreforkPool({
  size: 2,
  appPath: join(import.meta.dirname, "pool-faults.ts"),
  ask: async () => null,
});
await pool.start();
const runs = [pool.submit(poolJob(task)), pool.submit(poolJob(task))];
await Promise.all(runs.map((run) => run.accepted));
console.log(`pids ${pool.pids.join(" ")}`);
if (how === "exit") process.exit(3);
if (how === "throw") {
  setImmediate(() => {
    throw new Error("the worker's own fault");
  });
}
