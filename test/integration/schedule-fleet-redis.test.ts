/** Several real workers on one schedule in Redis. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { atEnd } from "../support/cleanup.ts";
import { startFleet } from "../support/fleet.ts";
import { dropNamespaces, needRedis, needRedisServer, REDIS_URL, startRedis, testNamespace } from "../support/redis.ts";
import { fleetSuite, outlivesItsStore } from "./schedule-fleet-suite.ts";

fleetSuite({
  name: "Redis",
  ...(await needRedis()),
  place(t) {
    const namespace = testNamespace();
    atEnd(t, () => dropNamespaces(namespace));
    return { url: REDIS_URL, namespace };
  },
});

test(
  "a worker says which level the server really gives, and warns of one that loses what it acknowledged",
  needRedisServer(),
  async (t) => {
    for (const [level, config, warning] of [
      ["strict: survives power loss", ["appendonly yes", "appendfsync always"], undefined],
      ["memory: gone when its server ends", [], /WARNING.*is durable at level "memory": appendonly is not yes/],
    ] as const) {
      const server = await startRedis(t, ...config);
      const fleet = await startFleet(t, { place: { url: server.url } });
      const worker = await fleet.worker("w1");
      assert.ok(worker.text.includes(`schedule: ${server.url}, ${level}`), worker.text);
      if (warning === undefined) assert.doesNotMatch(worker.text, /WARNING/);
      else assert.match(worker.stderr, warning);
      await worker.stop();
    }
  },
);

test("a worker outlives its Redis", needRedisServer(), async (t) => {
  const server = await startRedis(t, "appendonly yes", "appendfsync always");
  await outlivesItsStore(t, server.url, server);
});
