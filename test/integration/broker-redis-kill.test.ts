/** Story L11: a consumer is killed at every command that it sends, at each of its three moments, and no message is lost by it. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { Program } from "../support/processes.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { RedisWorld, toQueue, wire } from "../support/redis-broker.ts";
import { tempDir } from "../support/temp.ts";
import { until } from "../support/until.ts";

const { skip } = needRedisServer();
const CHILD = join(import.meta.dirname, "../support/redis-broker-child.ts");
const TEXTS = ["0", "1", "2", "3", "4", "5"];
const MOMENTS = ["before", "sent", "answered"] as const;
/** Seconds. The lock of one that was killed while it looked for others' messages is not waited for as long as kombu's. */
const SHORT = {
  visibility_timeout: 0.4,
  unacked_restore_interval: 0.1,
  unacked_restore_throttle: 1,
  unacked_mutex_expire: 0.5,
};
/** At once; the machine may have as many processors. */
const LANES = 3;

describe("L11: a consumer that is killed", { timeout: 300_000, skip }, () => {
  test("at any command that it sends loses nothing that it took", async (t) => {
    const server = await startRedis(t);
    const folder = await tempDir(t);
    let next = 0;
    let last = Number.POSITIVE_INFINITY;
    let killed = 0;
    const lane = async () => {
      for (;;) {
        const number = next++;
        const at = Math.floor(number / MOMENTS.length) + 1;
        if (at > last) return;
        const ended = await killedAt(t, server.url, folder, at, MOMENTS[number % MOMENTS.length] ?? "before");
        if (ended === "killed") killed += 1;
        else last = Math.min(last, at);
      }
    };

    await Promise.all(Array.from({ length: LANES }, lane));

    // Opening, scripts, declaring, taking, settling and closing are some thirty commands.
    assert.ok(killed >= 60, `${killed} consumers were killed`);
  });
});

/** One consumer, its end, and what is left of its six messages. */
async function killedAt(
  t: TestContext,
  url: string,
  folder: string,
  at: number,
  when: string,
): Promise<"killed" | "done"> {
  const world = new RedisWorld(t, url, `${at}-${when}:`);
  const connection = await world.connect(SHORT);
  await connection.declareQueue("q");
  for (const text of TEXTS) await connection.publish(toQueue("q"), wire(text));
  const ledger = join(folder, `${at}-${when}`);

  const child = new Program(t, process.execPath, {
    args: [
      "--conditions=lovage-source",
      "--no-warnings",
      CHILD,
      url,
      world.prefix,
      ledger,
      String(at),
      when,
      JSON.stringify(SHORT),
    ],
  });
  const { status, signal } = await child.ended;
  assert.ok(signal === "SIGKILL" || status === 0, child.text);
  const seen = new Set(existsSync(ledger) ? readFileSync(ledger, "utf8").split("\n") : []);
  await connection.consume("q", (delivery) => {
    seen.add(Buffer.from(delivery.message.body).toString());
    void delivery.ack();
  });
  await until(() => TEXTS.every((text) => seen.has(text)));
  await until(async () => (await world.keys()).join() === "_kombu.binding.q");
  await connection.close();
  return signal === "SIGKILL" ? "killed" : "done";
}
