/** A worker's own timer lives through the loss of the broker's connection. Celery from 5.6.3 on loses it (PROTOCOL 16.1). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { interop } from "../support/interop.ts";
import { needVhosts, withVhost } from "../support/vhost.ts";

const { skip } = await needVhosts();

describe("a forced close of all connections", { skip }, () => {
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
    assert.deepEqual(await worker.stop(), { status: 0, signal: null });
  });
});
