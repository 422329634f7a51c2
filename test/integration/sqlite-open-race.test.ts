/** One new file, opened by several at the same moment: a worker that starts beside its client, say. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Worker } from "node:worker_threads";

const OPENERS = 4;
const FILES = 40;

test("a file that several make at the same moment is made once, and every one of them has it open", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "lovage-open-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const arrived = new SharedArrayBuffer(FILES * 4);
  const paths = Array.from({ length: FILES }, (_, i) => join(folder, `${i}.db`));
  const program = new URL("sqlite-open-thread.ts", import.meta.url);

  const failures = await Promise.all(
    Array.from({ length: OPENERS }, () => {
      const thread = new Worker(program, { workerData: { paths, arrived, openers: OPENERS } });
      return new Promise<string[]>((resolve, reject) => {
        thread.once("message", resolve);
        thread.once("error", reject);
      });
    }),
  );

  assert.deepEqual(failures.flat(), []);
});
