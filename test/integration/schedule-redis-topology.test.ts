/** A schedule in a Redis Cluster, and behind Sentinels. Each of servers of the test's own. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { freePorts } from "../../scripts/services/ports.ts";
import { openRedisSchedule, type RedisScheduleOptions } from "../../src/schedule/stores/redis.ts";
import { ALICE, add, dueAt, ok } from "../../src/testing/schedule-fixtures.ts";
import { planOf, recurring } from "../../src/testing/schedule-recurrence-fixtures.ts";
import { atEnd } from "../support/cleanup.ts";
import { needRedisServer, type PrivateRedis, rawClient, startRedis } from "../support/redis.ts";
import { until } from "../support/until.ts";

const { skip } = needRedisServer();
const HANG = { timeout: 90_000, skip };
const SLOTS = 16_384;
const FAR_MS = Date.now() + 3_600_000;

async function opened(t: TestContext, url: string, options: RedisScheduleOptions = {}) {
  const store = await openRedisSchedule(url, options);
  atEnd(t, () => store.close());
  return store;
}

async function startCluster(t: TestContext, size: number): Promise<readonly PrivateRedis[]> {
  const ports = await freePorts(size);
  const nodes = await Promise.all(
    ports.map((bus) => startRedis(t, "cluster-enabled yes", `cluster-port ${bus}`, "cluster-node-timeout 2000")),
  );
  const clients = nodes.map((node) => rawClient(t, node.url));
  const share = Math.ceil(SLOTS / size);
  for (const [i, client] of clients.entries()) {
    const last = Math.min(SLOTS, (i + 1) * share) - 1;
    await client.call("CLUSTER", "ADDSLOTSRANGE", i * share, last);
    if (i > 0) await client.call("CLUSTER", "MEET", "127.0.0.1", String(nodes[0]?.port), String(ports[0]));
  }
  for (const client of clients) {
    await until(async () => {
      const info = String(await client.call("CLUSTER", "INFO"));
      return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${size}`);
    });
  }
  return nodes;
}

function hostsOf(nodes: readonly PrivateRedis[]): string {
  return nodes.map(({ port }) => `127.0.0.1:${port}`).join(",");
}

describe("a schedule in a Redis Cluster", HANG, () => {
  test("does everything, each namespace on the node of its slot, whichever node the URL names first", async (t) => {
    const nodes = await startCluster(t, 3);
    const homes = new Set<number>();
    for (let i = 0; i < 9; i++) {
      const [first, ...rest] = [...nodes.slice(i % 3), ...nodes.slice(0, i % 3)];
      const namespace = `shop {${i}}`;
      const store = await opened(t, `redis+cluster://${hostsOf([first as PrivateRedis, ...rest])}`, { namespace });
      const id = await add(store, dueAt(1, { key: "k", tags: ["t"], queue: "q {x}" }));
      await store.put(Array.from({ length: 500 }, (_, n) => dueAt(FAR_MS + n)));
      await store.recurrences.put(recurring(planOf(FAR_MS), { key: "r" }));
      await store.enlist({ ...ALICE, queues: ["q {x}"] }, []);
      const { claims } = await store.claimDue({ ...ALICE, queues: ["q {x}"] }, 5, 10_000);
      assert.deepEqual(
        claims.map(({ callback }) => callback.id),
        [id],
      );
      for (const claim of claims) await store.settle(claim, ok);
      assert.equal((await store.revoke("t-1", FAR_MS)).answer, "unknown");
      await store.sweep(ALICE, 10);
      assert.equal((await store.list({ tags: ["t"], limit: 9 })).callbacks.length, 1);
      assert.deepEqual(await store.counts(), { scheduled: 501, succeeded: 1 });
      for (const [n, node] of nodes.entries()) {
        const keys = await rawClient(t, node.url).keys(`{lovage:shop %7B${i}%7D}:*`);
        if (keys.length > 0) homes.add(n);
      }
    }
    assert.equal(homes.size, 3, "nine namespaces, three nodes");
  });

  test("hears of an abort and of what is due earlier, and follows its slot to another node", async (t) => {
    const nodes = await startCluster(t, 2);
    const url = `redis+cluster://${hostsOf(nodes)}`;
    const store = await opened(t, url);
    const other = await opened(t, url);
    const changes: unknown[] = [];
    atEnd(
      t,
      other.onChange((change) => void changes.push(change)),
    );
    await until(() => changes.length > 0);
    await add(store, dueAt(FAR_MS, { queue: "mail" }));
    await until(() => changes.length > 1);
    assert.deepEqual(changes, [{}, { dueMs: FAR_MS, queue: "mail" }]);

    const clients = nodes.map((node) => rawClient(t, node.url));
    const [a, b] = clients as [(typeof clients)[0], (typeof clients)[0]];
    const slot = Number(await a.call("CLUSTER", "KEYSLOT", "{lovage:lovage}"));
    const isOnA = slot < SLOTS / 2;
    const [from, to, target] = isOnA ? [a, b, nodes[1]] : [b, a, nodes[0]];
    const [fromId, toId] = [String(await from.call("CLUSTER", "MYID")), String(await to.call("CLUSTER", "MYID"))];
    await to.call("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
    await from.call("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
    const keys = (await from.call("CLUSTER", "GETKEYSINSLOT", slot, 1_000)) as string[];
    await from.call("MIGRATE", "127.0.0.1", String(target?.port), "", 0, 5_000, "KEYS", ...keys);
    for (const client of [to, from]) await client.call("CLUSTER", "SETSLOT", slot, "NODE", toId);

    await assert.rejects(store.put([dueAt(1)]), { code: "ERR_STORE_UNAVAILABLE", message: /MOVED/ });
    await until(() =>
      store.put([dueAt(2)]).then(
        () => true,
        () => false,
      ),
    );
    assert.deepEqual(await store.counts(), { scheduled: 2 }, "what was refused was not done");
  });

  test("says what is wrong: no node answers, no Cluster at all", async (t) => {
    const [one, two] = (await freePorts(2)) as [number, number];
    await assert.rejects(openRedisSchedule(`redis+cluster://:sesame@127.0.0.1:${one},127.0.0.1:${two}`), {
      code: "ERR_STORE_UNAVAILABLE",
      message: new RegExp(`127.0.0.1:${one}: nothing listens there.*1 other`),
    });
    const unready = await startRedis(t, "cluster-enabled yes", `cluster-port ${(await freePorts(1))[0]}`);
    await assert.rejects(openRedisSchedule(`redis+cluster://127.0.0.1:${unready.port}`), {
      code: "ERR_STORE_UNAVAILABLE",
      message: /CLUSTERDOWN/,
    });
    const plain = await startRedis(t);
    const store = await opened(t, `redis+cluster://127.0.0.1:${plain.port}`);
    await add(store, dueAt(1));
  });
});

describe("a schedule behind Sentinels", HANG, () => {
  async function startSentinel(t: TestContext, master: PrivateRedis): Promise<PrivateRedis> {
    return startRedis(
      t,
      `sentinel monitor shop 127.0.0.1 ${master.port} 1`,
      "sentinel down-after-milliseconds shop 300",
      "sentinel failover-timeout shop 3000",
    );
  }

  test("goes on with the next master when the first is killed, with what that one had replicated", async (t) => {
    const master = await startRedis(t);
    const replica = await startRedis(t, `replicaof 127.0.0.1 ${master.port}`, "repl-diskless-sync-delay 0");
    const sentinel = await startSentinel(t, master);
    const raw = rawClient(t, sentinel.url);
    await until(async () => ((await raw.call("SENTINEL", "REPLICAS", "shop")) as unknown[]).length === 1);
    const [dead] = (await freePorts(1)) as [number];
    const store = await opened(t, `redis+sentinel://127.0.0.1:${dead},127.0.0.1:${sentinel.port}/shop/0`);
    const ids = [await add(store, dueAt(FAR_MS, { key: "a" })), await add(store, dueAt(FAR_MS))];
    await rawClient(t, master.url).call("WAIT", 1, 0);
    await until(async () => (await rawClient(t, replica.url).exists("{lovage:lovage}:rows")) === 1);

    await master.kill9();

    await until(() =>
      store.put([dueAt(1, { key: "a" })]).then(
        () => true,
        () => false,
      ),
    );
    assert.equal((await store.get({ key: "a" }))?.id, ids[0]);
    assert.deepEqual(await store.counts(), { scheduled: 2 });
    assert.equal(String(await rawClient(t, replica.url).call("ROLE")).startsWith("master"), true);
  });

  test("says what is wrong: a name that none knows, no Sentinel, a server that is none", async (t) => {
    const master = await startRedis(t);
    const sentinel = await startSentinel(t, master);
    await assert.rejects(openRedisSchedule(`redis+sentinel://127.0.0.1:${sentinel.port}/store`), {
      code: "ERR_STORE_POLICY",
      message: new RegExp(`Sentinel at 127.0.0.1:${sentinel.port} knows no master "store"`),
    });
    const [dead] = (await freePorts(1)) as [number];
    await assert.rejects(openRedisSchedule(`redis+sentinel://127.0.0.1:${dead}/shop`), {
      code: "ERR_STORE_UNAVAILABLE",
      message: /nothing listens there/,
    });
    await assert.rejects(openRedisSchedule(`redis+sentinel://127.0.0.1:${master.port}/shop`), {
      code: "ERR_STORE_UNAVAILABLE",
      message: /unknown command/i,
    });
  });
});
