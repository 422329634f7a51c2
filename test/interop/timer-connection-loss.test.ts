/** A worker's own timer lives through the loss of the broker's connection. Celery from 5.6.3 on loses it (PROTOCOL 16.1). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { interop } from "../support/interop.ts";
import { needVhosts, withVhost } from "../support/vhost.ts";
import { fixture } from "../unit/protocol/fixtures.ts";

const { skip } = await needVhosts();

/** What Celery's worker said of the same, and its users' steps: 5.6.2, and 5.6.3 as it was released. */
const { log: theirs } = fixture<{ log: Record<"main" | "release", string[]> }>("bootsteps_timer_connection_loss.json");
const SAID = [
  /Connected to amqp:\/\//,
  / ready\.$/,
  /consumer: Connection to broker lost/,
  /Connected to amqp:\/\//,
] as const;

/** Where these lines stand, one after the other. */
function inOrder(lines: readonly string[], wanted: readonly RegExp[]): number[] {
  let at = -1;
  return wanted.map((line) => {
    at = lines.findIndex((text, i) => i > at && line.test(text));
    assert.ok(at >= 0, `${line} is not said, or not then`);
    return at;
  });
}

describe("a forced close of all connections", { skip }, () => {
  test("ends the timers of a user's steps in Celery", () => {
    for (const lines of [theirs.main, theirs.release]) {
      const [, , lost = 0] = inOrder(lines, SAID);
      const ticks = lines.flatMap((line, i) => (/ TICK /.test(line) ? [i] : []));
      assert.ok(ticks.length >= 6 && ticks.every((at) => at < lost));
    }
  });

  test("a user's worker step goes on ticking, messages are taken again, and callbacks fire meanwhile", async (t) => {
    const vhost = await withVhost(t);
    const world = await interop(t, { broker: { url: vhost.url } });
    const worker = await world.worker({ TEST_TICKS: "1" });
    const client = world.client();
    assert.deepEqual(await world.call(client, "demo.foo", "before"), { word: "before", times: 1 });
    await world.ledger.waitFor(3, "tick");

    const from = worker.lines.length;
    await vhost.closeAllConnections();
    await worker.waitForLine(/Connection to broker lost/, from);
    const callback = await client.schedule.callAfter(0, client.signature("demo.scream", { args: ["meanwhile"] }));
    const ticks = world.ledger.count("tick");
    await world.ledger.waitFor(ticks + 5, "tick");
    await worker.waitForLine(/Connected to amqp/, from);

    await callback.result.get({ timeout: 60 });
    assert.deepEqual(await world.call(client, "demo.foo", "after"), { word: "after", times: 1 });
    const counted = world.ledger.of("tick").map(([, n]) => n as number);
    assert.deepEqual(
      counted,
      Array.from(counted, (_, i) => i + 1),
      "no tick is missing, and none came twice",
    );
    inOrder(worker.lines, SAID);
    assert.deepEqual(await worker.stop(), { status: 0, signal: null });
  });
});
