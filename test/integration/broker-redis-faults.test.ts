/** Servers that are silent, full, restarted, demoted or forbidden, and connections that are cut: nothing is lost, and nothing stays silent. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Broker, BrokerConnection, Delivery } from "../../src/brokers/broker.ts";
import { exchangeNamed, queueNamed } from "../../src/brokers/topology.ts";
import { atEnd } from "../support/cleanup.ts";
import { needRedisServer, type PrivateRedis, rawClient, startRedis, throughProxy } from "../support/redis.ts";
import { Deliveries, RedisWorld, toQueue, wire } from "../support/redis-broker.ts";
import { until } from "../support/until.ts";

const { skip } = needRedisServer();
const HANG = { timeout: 120_000, skip };

async function ownServer(
  t: TestContext,
  ...config: readonly string[]
): Promise<{ server: PrivateRedis; world: RedisWorld }> {
  const server = await startRedis(t, ...config);
  return { server, world: new RedisWorld(t, server.url, "") };
}

/** Consumes as a worker does: a new connection whenever one was lost. What is delivered is acknowledged. */
class Persistent {
  readonly seen: string[] = [];
  readonly reasons: Error[] = [];
  connections = 0;
  #connection: BrokerConnection | undefined;
  #stopped = false;

  constructor(t: TestContext, broker: Broker, queue: string) {
    const running = this.#run(broker, queue);
    atEnd(t, async () => {
      this.#stopped = true;
      await this.#connection?.close();
      await running;
    });
  }

  async #run(broker: Broker, queue: string): Promise<void> {
    while (!this.#stopped) {
      try {
        const connection = await broker.connect({ name: "persistent", timeoutMs: 2_000 });
        this.#connection = connection;
        this.connections += 1;
        await connection.declareQueue(queue);
        await connection.setPrefetch(10);
        await connection.consume(queue, (delivery) => this.#take(delivery));
        const reason = await connection.closed;
        if (reason !== undefined) this.reasons.push(reason);
      } catch (error) {
        this.reasons.push(error as Error);
        await sleep(50);
      }
    }
  }

  #take(delivery: Delivery): void {
    this.seen.push(Buffer.from(delivery.message.body).toString());
    setImmediate(() => void delivery.ack());
  }
}

describe("a Redis broker in trouble", HANG, () => {
  test("L9, L10: a server that hangs is found out within seconds, and the next connection goes on", async (t) => {
    const { server, world } = await ownServer(t);
    const broker = await world.broker({ socket_timeout: 1 });
    const consumer = new Persistent(t, broker, "q");
    await until(() => consumer.connections === 1);
    const producer = await world.connection(broker);
    await producer.publish(toQueue("q"), wire("before"));
    await until(() => consumer.seen.length === 1);

    process.kill(server.pid, "SIGSTOP");
    await until(() => consumer.reasons.length > 0);
    process.kill(server.pid, "SIGCONT");

    assert.match(consumer.reasons[0]?.message ?? "", /it is silent: .* did not come within 1 s/);
    const next = await world.connect();
    await next.publish(toQueue("q"), wire("after"));
    await until(() => consumer.seen.includes("after"));
  });

  test("a peer that vanished is found out too, and what was in hand comes back", async (t) => {
    const { server, world } = await ownServer(t);
    const { url, proxy } = await throughProxy(t, server.url);
    const broker = await world.broker({ socket_timeout: 0.5 }, { url });
    const connection = await world.connection(broker);
    await connection.declareQueue("q");
    await connection.publish(toQueue("q"), wire("a"));
    const held = await Deliveries.open(connection, "q");
    await held.atLeast(1);

    proxy.freeze();
    const reason = await connection.closed;
    await held.all[0]?.ack();

    assert.equal((reason as { code?: string }).code, "ERR_BROKER_UNAVAILABLE");
    assert.equal(await world.raw.hlen("unacked"), 1);
    // The next connection of the same broker, by another way.
    const again = await throughProxy(t, server.url);
    assert.notEqual(again.url, url);
    const direct = await world.broker({
      visibility_timeout: 1,
      unacked_restore_interval: 0.2,
      unacked_restore_throttle: 1,
    });
    const next = await Deliveries.open(await world.connection(direct), "q");
    await next.atLeast(1);
    assert.equal(next.all[0]?.redelivered, true);
  });

  test("a silent connection that only listens is found out", async (t) => {
    const { server, world } = await ownServer(t);
    const { url, proxy } = await throughProxy(t, server.url);
    const connection = await world.connect({ socket_timeout: 0.5, health_check_interval: 0.2 }, { url });
    const exchange = exchangeNamed("ev", { type: "fanout" });
    await connection.subscribe(queueNamed("ear", { exchange, routingKey: "#", autoDelete: true }), () => undefined);

    proxy.freeze();

    assert.match((await connection.closed)?.message ?? "", /PING did not come within/);
  });

  test("F-18: a connection that is killed again and again loses nothing", async (t) => {
    const { world } = await ownServer(t);
    const broker = await world.broker();
    const consumer = new Persistent(t, broker, "q");
    await until(() => consumer.connections === 1);
    const sent = new Set<string>();
    let stopped = false;
    const publishing = (async () => {
      const producers = await world.broker();
      let connection: BrokerConnection | undefined;
      for (let i = 0; !stopped; i += 1) {
        try {
          connection ??= await producers.connect({ name: "producer", timeoutMs: 2_000 });
          await connection.declareQueue("q");
          await connection.publish(toQueue("q"), wire(`m${i}`));
          sent.add(`m${i}`);
        } catch (error) {
          assert.ok(
            ["ERR_OUTCOME_UNKNOWN", "ERR_BROKER_UNAVAILABLE"].includes((error as { code: string }).code),
            String(error),
          );
          connection = undefined;
        }
      }
      await connection?.close();
    })();

    for (let round = 0; round < 100; round += 1) {
      const before = consumer.seen.length;
      await world.raw.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      if (round % 3 === 0) await world.raw.call("CLIENT", "KILL", "TYPE", "pubsub");
      await until(() => consumer.seen.length > before);
    }
    stopped = true;
    await publishing;
    await until(() => [...sent].every((text) => consumer.seen.includes(text)));

    await until(async () => (await world.raw.exists("q", "unacked", "unacked_index")) === 0);
    assert.ok(consumer.connections > 20, `${consumer.connections} connections`);
  });

  test("what was taken by a script whose answer was lost comes back with the next connection", async (t) => {
    const { server, world } = await ownServer(t);
    const { url, proxy } = await throughProxy(t, server.url);
    const broker = await world.broker({}, { url });
    const connection = await world.connection(broker);
    await connection.declareQueue("q");
    const none = await Deliveries.open(connection, "q");

    proxy.cutAnswers(true);
    for (const text of ["a", "b"]) await (await world.connect()).publish(toQueue("q"), wire(text));
    await connection.closed;
    proxy.cutAnswers(false);
    assert.equal(none.all.length, 0);
    const next = await Deliveries.open(await world.connection(broker), "q");
    await next.atLeast(2);

    assert.deepEqual(next.texts, ["a", "b"]);
    assert.ok(
      next.all.every(({ redelivered }) => !redelivered),
      "nobody had them in hand",
    );
  });

  test("a server without memory takes no message, and gives those that it has", async (t) => {
    const { world } = await ownServer(t);
    const connection = await world.connect();
    await connection.declareQueue("q");
    for (let i = 0; i < 50; i += 1) await connection.publish(toQueue("q"), wire(`${i} ${"x".repeat(10_000)}`));
    await world.raw.call("CONFIG", "SET", "maxmemory", "1mb");

    await assert.rejects(connection.publish(toQueue("q"), wire("more")), {
      code: "ERR_BROKER_UNAVAILABLE",
      message: /out of memory/,
    });
    await connection.setPrefetch(5);
    let seen = 0;
    await connection.consume("q", (delivery) => {
      seen += 1;
      void (seen % 10 === 0 && !delivery.redelivered ? delivery.requeue() : delivery.ack());
    });
    await until(() => seen === 55);

    assert.equal(await connection.depth("q"), 0);
    await until(async () => (await world.raw.exists("unacked")) === 0);
  });

  test("a server that tells of no changes is asked again and again", async (t) => {
    const { server, world } = await ownServer(t, "user plain on >word ~* &* +@all -client|tracking");
    const url = `redis://plain:word@127.0.0.1:${server.port}`;
    const connection = await world.connect({}, { url });
    await connection.declareQueue("q");
    const deliveries = await Deliveries.open(connection, "q");

    for (let i = 1; i <= 5; i += 1) {
      await sleep(20 * i);
      await connection.publish(toQueue("q"), wire(String(i)));
      await deliveries.atLeast(i);
    }

    assert.deepEqual(deliveries.texts, ["1", "2", "3", "4", "5"]);
  });

  test("a user who may do no more than the remedy says can do all", async (t) => {
    const { server, world } = await ownServer(t, "user modest on >word ~* &* +@all -@dangerous +info");
    await world.raw.hset("unacked", "lost", "[]");
    const connection = await world.connect({}, { url: `redis://modest:word@127.0.0.1:${server.port}` });
    const exchange = exchangeNamed("f", { type: "fanout" });
    const heard: string[] = [];
    await connection.subscribe(
      queueNamed("ear", { exchange, routingKey: "#", autoDelete: true }),
      () => void heard.push("x"),
    );
    await connection.publish({ exchange: "f", routingKey: "k", exchangeType: "fanout" }, wire("a"));
    await connection.declareQueue("q");
    const deliveries = await Deliveries.open(connection, "q");
    await connection.publish(toQueue("q"), wire("b"));
    await deliveries.atLeast(1);
    await deliveries.all[0]?.requeue();
    await deliveries.atLeast(2);
    await deliveries.all[1]?.ack();

    assert.equal(await connection.depth("q"), 0);
    assert.equal(await connection.purge("q"), 0);
    await until(() => heard.length === 1);
    await until(async () => (await world.raw.zscore("unacked_index", "lost")) !== null);
    assert.equal(
      world.logged.some((text) => /does not/.test(text)),
      false,
      world.logged.join(),
    );
  });

  test("scripts that were flushed are told again", async (t) => {
    const { world } = await ownServer(t);
    const connection = await world.connect();
    await connection.declareQueue("q");
    const deliveries = await Deliveries.open(connection, "q");

    for (let i = 1; i <= 5; i += 1) {
      await world.raw.call("SCRIPT", "FLUSH");
      await connection.publish(toQueue("q"), wire(String(i)));
      await deliveries.atLeast(i);
      await deliveries.all[i - 1]?.ack();
    }

    assert.equal(await world.raw.exists("unacked"), 0);
  });

  test("a master that becomes a replica is left, and is no broker", async (t) => {
    const { world } = await ownServer(t);
    const other = await startRedis(t);
    const broker = await world.broker();
    const connection = await world.connection(broker);
    await connection.declareQueue("q");
    await Deliveries.open(connection, "q");

    await world.raw.call("REPLICAOF", "127.0.0.1", other.port);

    assert.match((await connection.closed)?.message ?? "", /READONLY/);
    await assert.rejects(broker.connect({ name: "x", timeoutMs: 2_000 }), {
      code: "ERR_BROKER_UNAVAILABLE",
      message: /read-only replica/,
    });
  });

  test("what is wrong is said: no server, wrong password, what a user may not do, a policy that evicts", async (t) => {
    const { server, world } = await ownServer(
      t,
      "requirepass sesame",
      "maxmemory-policy allkeys-lru",
      "user weak on >word ~* &* -@all +@connection",
    );
    const dead = await startRedis(t);
    await dead.kill9();
    const connect = (url: string) => world.connect({}, { url });
    const refused = (message: RegExp) => ({ code: "ERR_BROKER_UNAVAILABLE", message });

    await assert.rejects(connect(dead.url), refused(/nothing listens there/));
    await assert.rejects(connect(`redis://:wrong@127.0.0.1:${server.port}`), refused(/password is wrong/));
    await assert.rejects(connect(`redis://127.0.0.1:${server.port}`), refused(/asks for a password/));
    await assert.rejects(connect(`redis://weak:word@127.0.0.1:${server.port}`), refused(/permission|NOPERM|may not/));
    const connection = await connect(`redis://:sesame@127.0.0.1:${server.port}`);
    await connection.declareQueue("q");
    assert.ok(world.logged.some((text) => /may throw out whole queues.*allkeys-lru/.test(text)));
    assert.equal(world.logged.join().includes("sesame"), false);
  });

  test("a restarted server is found again, with what it had on disk", async (t) => {
    const { server, world } = await ownServer(t, "appendonly yes", "appendfsync always");
    const broker = await world.broker();
    const consumer = new Persistent(t, broker, "other");
    const connection = await world.connection(broker);
    await connection.declareQueue("q");
    await connection.setPrefetch(2);
    for (const text of ["a", "b", "c"]) await connection.publish(toQueue("q"), wire(text));
    const held = await Deliveries.open(connection, "q");
    await held.atLeast(2);
    await held.all[0]?.ack();

    await server.kill9();
    await connection.closed;
    await server.start();
    await until(() => consumer.connections > 1);
    const next = await Deliveries.open(await world.connection(broker), "q");
    await next.atLeast(2);

    assert.deepEqual(next.texts, ["b", "c"]);
    assert.equal(next.all[0]?.redelivered, true);
    assert.equal(await rawClient(t, server.url).hlen("unacked"), 2);
  });
});
