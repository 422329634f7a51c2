/** Results in Redis in each format of `result_serializer`: kept, told, and a SUCCESS never overwritten, which Redis itself must see. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { ContentFormats } from "../../src/protocol/content.ts";
import type { ResultDocument } from "../../src/protocol/result.ts";
import { ResultFormat } from "../../src/results/format.ts";
import { openRedisResults } from "../../src/results/redis.ts";
import { atEnd } from "../support/cleanup.ts";
import { needRedis, REDIS_URL, rawClient } from "../support/redis.ts";
import { until } from "../support/until.ts";

const { skip } = await needRedis();
const formats = new ContentFormats();
const MINUTE_MS = 60_000;

/** What a reader may take for a SUCCESS that is none. */
const DECOYS = ['"status: SUCCESS"', '"x\\nstatus: SUCCESS\\ny"', '{"status":"SUCCESS"}', '["SUCCESS"]'];

for (const name of ["json", "yaml", "msgpack"]) {
  describe(`results in Redis, in ${name}`, { skip }, () => {
    test("are kept and told as they were stored, and a SUCCESS stands", async (t) => {
      const prefix = `lovage-test-${randomUUID()}`;
      const backend = await openRedisResults(REDIS_URL, {
        transport: { global_keyprefix: prefix },
        format: new ResultFormat(await formats.load(name)),
      });
      atEnd(t, () => backend.close());
      const raw = rawClient(t, REDIS_URL);
      const keys: string[] = [];
      atEnd(t, async () => void (await raw.unlink(...keys)));
      const store = (taskId: string, status: string, result: string) => {
        keys.push(`${prefix}celery-task-meta-${taskId}`);
        return backend.store(document(taskId, status, result), MINUTE_MS);
      };
      const stands = async (taskId: string) => {
        const found = await backend.get(taskId);
        return found === undefined ? undefined : [found.status, JSON.parse(found.result)];
      };

      const told: string[] = [];
      const watch = await backend.watch("t", ({ status }) => told.push(status));
      await store("t", "STARTED", "null");
      await store("t", "SUCCESS", '"žluť 🐎\\u0000"');
      await store("t", "FAILURE", "null");
      assert.deepEqual(await stands("t"), ["SUCCESS", "žluť 🐎\0"]);
      await until(() => told.length >= 2);
      watch.stop();
      assert.deepEqual(told, ["STARTED", "SUCCESS"]);

      for (const [i, decoy] of DECOYS.entries()) {
        await store(`decoy-${i}`, "RETRY", decoy);
        await store(`decoy-${i}`, "SUCCESS", decoy);
        assert.deepEqual(await stands(`decoy-${i}`), ["SUCCESS", JSON.parse(decoy)], decoy);
        await store(`decoy-${i}`, "FAILURE", "null");
        assert.equal((await stands(`decoy-${i}`))?.[0], "SUCCESS", decoy);
      }
    });
  });
}

function document(taskId: string, status: string, result: string): ResultDocument {
  return { task_id: taskId, status, result, traceback: null, children: [], date_done: null };
}
