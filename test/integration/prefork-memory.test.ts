/** `workerMaxMemoryPerChild`: a process that has grown too large is replaced after its run, and costs no run. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { createLogger } from "../../src/kit/log.ts";
import type { Outcome } from "../../src/pool/pool.ts";
import { PreforkPool } from "../../src/pool/prefork/prefork.ts";
import { poolJob, runAll, until } from "../../src/testing/pool-conformance.ts";

const appPath = join(import.meta.dirname, "../support/apps/pool-faults.ts");
/** The only place that says how large another process is. */
const skip = process.platform === "linux" ? false : "needs /proc";

async function startPool(t: TestContext, size: number, maxMemoryPerChild: number) {
  const lines: string[] = [];
  const log = createLogger({ level: "debug", destination: (line) => lines.push(line) });
  const ask = async () => null;
  const pool = new PreforkPool({ size, appPath, ask, log, maxMemoryPerChild });
  t.after(() => pool.stop(0));
  await pool.start();
  return { pool, lines };
}

function result(outcome: Outcome): unknown {
  assert.ok(outcome.kind === "succeeded", JSON.stringify(outcome));
  return JSON.parse(outcome.result);
}

describe("a process that grows", { skip, timeout: 120_000 }, () => {
  test("is replaced after the run that made it too large, and not before", async (t) => {
    const { pool, lines } = await startPool(t, 1, 350 * 1_024);
    const run = async (task: string, ...args: unknown[]) => result(await pool.submit(poolJob(task, args)).outcome);
    const first = await run("look.pid");
    assert.equal(await run("look.pid"), first);
    assert.equal(await run("fault.hoard", 350), first, "the run itself ends as it should");
    await until(pool, () => pool.pids.length === 1 && pool.pids[0] !== first && pool.free === 1);
    assert.notEqual(await run("look.pid"), first);
    const said = lines.filter((line) => line.includes("it is replaced"));
    assert.equal(said.length, 1, said.join("\n"));
    assert.match(said[0] ?? "", /is resident with \d{6,} KiB, more than 358400: it is replaced/);
    assert.ok(!lines.some((line) => line.includes("another takes its place")), "that is no accident");
  });

  test("too small a limit costs a process for each run, but no run", async (t) => {
    const { pool } = await startPool(t, 2, 1);
    const jobs = Array.from({ length: 6 }, () => poolJob("look.pid"));
    const pids = (await runAll(pool, jobs)).map(result);
    assert.equal(new Set(pids).size, 6, "each its own process");
  });
});
