/** An abort only ever goes on: however often it is asked for again, the process gets its signal once, and then its end. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { Outcome } from "../../src/pool/pool.ts";
import { PreforkPool } from "../../src/pool/prefork/prefork.ts";
import { poolJob } from "../../src/testing/pool-conformance.ts";
import { Ledger } from "../support/ledger.ts";
import { tempDir } from "../support/temp.ts";

const appPath = join(import.meta.dirname, "../support/apps/abort-app.ts");
/** A limit for what must happen in about a second. */
const LIMIT_MS = 30_000;

for (const [what, named, sent] of [
  ["no signal", undefined, "SIGTERM"],
  ["a signal, by the first alone", "SIGHUP", "SIGHUP"],
] as const) {
  test(`who asks again and again, naming ${what}, does not keep the process alive`, { timeout: 60_000 }, async (t) => {
    const ledger = new Ledger(join(await tempDir(t), "ledger"));
    const pool = new PreforkPool({
      size: 1,
      appPath,
      ask: async () => null,
      env: { ...process.env, TEST_LEDGER: ledger.file },
    });
    t.after(() => pool.stop(0));
    await pool.start();
    const run = pool.submit(poolJob("abort.deaf", []));
    await run.accepted;
    await ledger.waitFor(1, "began", "abort.deaf");
    let outcome: Outcome | undefined;
    void run.outcome.then((each) => {
      outcome = each;
    });

    run.abort("terminated", 100, named);
    // As tombstones are: found again at each change of the schedule, more often than the process is given to heed its signal.
    for (let waited = 0; outcome === undefined && waited < LIMIT_MS; waited += 200) {
      await wait(200);
      run.abort("terminated", 5_000);
    }

    assert.deepEqual(outcome, { kind: "aborted", reason: "terminated" });
    assert.equal(ledger.count("signal"), 1);
    assert.equal(ledger.count("signal", sent), 1);
  });
}
