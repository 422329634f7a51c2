/**
 * What every broker must do, as tests. A backend's own test file calls this, and adds what only it can do.
 *
 * Nothing here waits for time: a test waits for deliveries, and where it must show that none comes, it waits for
 * something that would have come after it.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import type { Broker, BrokerConnection, Consumer, Delivery } from "../brokers/broker.ts";
import type { WireMessage, WireProperties } from "../protocol/message.ts";

export interface BrokerUnderTest {
  readonly broker: Broker;
  /** Lose every connection of the broker, as a dead network does. */
  sever(): Promise<void> | void;
  /** Remove the queues that the tests declared, and what `open` made. */
  close(queues: readonly string[]): Promise<void>;
}

/** A test that hangs is ended; no test depends on it. */
const HANG = { timeout: 60_000 };

export function brokerConformance(name: string, open: () => Promise<BrokerUnderTest>): void {
  describe(`${name} is a broker`, HANG, () => {
    let under: BrokerUnderTest;
    const queues: string[] = [];
    const connections: BrokerConnection[] = [];

    before(async () => {
      under = await open();
    });
    after(async () => {
      await Promise.all(connections.map((connection) => connection.close()));
      await under.close(queues);
    });

    async function connect(prefetch?: number): Promise<BrokerConnection> {
      const connection = await under.broker.connect({ name: "lovage conformance", timeoutMs: 20_000 });
      connections.push(connection);
      if (prefetch !== undefined) await connection.setPrefetch(prefetch);
      return connection;
    }

    function freshName(): string {
      const queue = `lovage-test-${randomUUID()}`;
      queues.push(queue);
      return queue;
    }

    async function withQueue(prefetch?: number): Promise<{ connection: BrokerConnection; queue: string }> {
      const connection = await connect(prefetch);
      const queue = freshName();
      await connection.declareQueue(queue);
      return { connection, queue };
    }

    test("what is published is delivered as it was: body, properties and headers", async () => {
      const { connection, queue } = await withQueue();
      const sent: WireMessage = {
        body: Buffer.from('[["žluťoučký kůň 🐎"],{},{}]'),
        properties: {
          contentType: "application/json",
          contentEncoding: "utf-8",
          deliveryMode: 2,
          priority: 0,
          correlationId: "id-ů-🐎",
          replyTo: "f0a1",
        },
        headers: nullProto({
          lang: "py",
          task: "demo.foo",
          eta: null,
          retries: 0,
          big: 2 ** 40,
          half: 0.5,
          ignore_result: false,
          timelimit: [null, 12.5],
          stamps: { ключ: ["a", { deep: true }] },
          "": "empty name",
        }),
      };

      await connection.publish({ exchange: "", routingKey: queue }, sent);
      const inbox = await Inbox.open(connection, queue);
      const [delivery] = await inbox.take(1);

      assert.ok(delivery);
      assert.deepEqual(Buffer.from(delivery.message.body), sent.body);
      assert.deepEqual({ ...delivery.message.properties }, { ...sent.properties });
      assert.equal(Object.getPrototypeOf(delivery.message.headers), null);
      assert.deepEqual(plain(delivery.message.headers), plain(sent.headers));
      assert.equal(delivery.queue, queue);
      assert.equal(delivery.exchange, "");
      assert.equal(delivery.routingKey, queue);
      assert.equal(delivery.redelivered, false);
      await delivery.ack();
    });

    test("a body may be empty, binary, or a megabyte", async () => {
      const { connection, queue } = await withQueue();
      const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      const large = Buffer.alloc(1_048_577, all);

      for (const body of [Buffer.alloc(0), all, large]) await connection.publish(to(queue), message(body));
      const deliveries = await (await Inbox.open(connection, queue)).take(3);

      assert.deepEqual(
        deliveries.map((each) => each.message.body.byteLength),
        [0, 256, 1_048_577],
      );
      assert.ok(all.equals(deliveries[1]?.message.body ?? Buffer.alloc(0)));
      assert.ok(large.equals(deliveries[2]?.message.body ?? Buffer.alloc(0)));
      await Promise.all(deliveries.map((each) => each.ack()));
    });

    test("the publisher may reuse its buffer once publish has resolved", async () => {
      const { connection, queue } = await withQueue();
      const body = Buffer.from("first");

      await connection.publish(to(queue), message(body));
      body.write("XXXXX");
      const [delivery] = await (await Inbox.open(connection, queue)).take(1);

      assert.equal(text(delivery), "first");
      await delivery?.ack();
    });

    test("a message without properties and headers is carried", async () => {
      const { connection, queue } = await withQueue();

      await connection.publish(to(queue), { body: Buffer.from("x"), properties: {}, headers: nullProto({}) });
      const [delivery] = await (await Inbox.open(connection, queue)).take(1);

      assert.deepEqual(Object.keys(delivery?.message.headers ?? { none: 1 }), []);
      assert.equal(delivery?.message.properties.contentType, undefined);
      await delivery?.ack();
    });

    test("a header named __proto__ reaches nobody's prototype", async () => {
      const { connection, queue } = await withQueue();
      const headers = nullProto({ task: "demo.foo" });
      Object.defineProperty(headers, "__proto__", { value: { task: "evil" }, enumerable: true });

      await connection.publish(to(queue), { body: Buffer.from("x"), properties: {}, headers });
      const [delivery] = await (await Inbox.open(connection, queue)).take(1);

      assert.deepEqual(Object.keys(delivery?.message.headers ?? {}), ["task"]);
      assert.equal(Object.getPrototypeOf(delivery?.message.headers), null);
      assert.equal(({} as Record<string, unknown>).task, undefined);
      await delivery?.ack();
    });

    test("messages wait for a consumer, and come in the order in which they were published", async () => {
      const { connection, queue } = await withQueue();
      const texts = numbered(500);

      await Promise.all(texts.map((each) => connection.publish(to(queue), message(each))));
      assert.equal(await connection.depth(queue), 500);
      const deliveries = await (await Inbox.open(connection, queue)).take(500);

      assert.deepEqual(deliveries.map(text), texts);
      await Promise.all(deliveries.map((each) => each.ack()));
      assert.equal(await connection.depth(queue), 0);
    });

    test("a message reaches its queue through the direct exchange of the queue's name too", async () => {
      const { connection, queue } = await withQueue();

      await connection.publish({ exchange: queue, routingKey: queue }, message("by exchange"));
      const [delivery] = await (await Inbox.open(connection, queue)).take(1);

      assert.equal(text(delivery), "by exchange");
      assert.equal(delivery?.exchange, queue);
      await delivery?.ack();
    });

    test("ten thousand messages in flight all arrive once", async () => {
      const { connection, queue } = await withQueue();
      const consuming = await connect(200);
      const inbox = await Inbox.open(consuming, queue, (delivery) => void delivery.ack());
      const texts = numbered(10_000);

      await Promise.all(texts.map((each) => connection.publish(to(queue), message(each))));
      const deliveries = await inbox.take(10_000);

      assert.deepEqual(deliveries.map(text), texts);
      assert.equal(inbox.waiting, 0);
    });

    test("no more than the prefetch count is unacknowledged at once", async () => {
      const { connection, queue } = await withQueue();
      const consuming = await connect(3);
      await publishAll(connection, queue, numbered(100));
      let held = 0;
      let most = 0;
      const inbox = await Inbox.open(consuming, queue, (delivery) => {
        held += 1;
        most = Math.max(most, held);
        setImmediate(() => {
          held -= 1;
          void delivery.ack();
        });
      });

      await inbox.take(100);

      assert.equal(most, 3);
    });

    test("consumers of one connection share its prefetch window", async () => {
      const { connection, queue } = await withQueue();
      const other = freshName();
      await connection.declareQueue(other);
      await publishAll(connection, queue, numbered(20));
      await publishAll(connection, other, numbered(20));
      const consuming = await connect(2);
      let held = 0;
      let most = 0;
      const seen: string[] = [];
      const { promise: allSeen, resolve } = Promise.withResolvers<void>();
      const onDelivery = (delivery: Delivery) => {
        held += 1;
        most = Math.max(most, held);
        seen.push(delivery.queue);
        setImmediate(() => {
          held -= 1;
          void delivery.ack();
        });
        if (seen.length === 40) resolve();
      };

      await consuming.consume(queue, onDelivery);
      await consuming.consume(other, onDelivery);
      await allSeen;

      assert.ok(most <= 2, `${most} unacknowledged at once`);
      assert.equal(seen.filter((each) => each === queue).length, 20);
    });

    test("a raised prefetch count lets more in", async () => {
      const { connection, queue } = await withQueue();
      await publishAll(connection, queue, numbered(10));
      const consuming = await connect(1);
      const inbox = await Inbox.open(consuming, queue);
      const held = [...(await inbox.take(1))];

      await consuming.setPrefetch(4);
      held.push(...(await inbox.take(3)));

      assert.equal(held.length, 4);
      assert.equal(await connection.depth(queue), 6);
      await consuming.setPrefetch(0);
      held.push(...(await inbox.take(6)));
      assert.deepEqual(held.map(text).sort(), numbered(10).sort());
      await Promise.all(held.map((each) => each.ack()));
    });

    test("two consumers share a queue: each message goes to one of them", async () => {
      const { connection, queue } = await withQueue();
      const [left, right] = [await connect(1), await connect(1)];
      const inboxes = [await Inbox.open(left, queue), await Inbox.open(right, queue)] as const;
      const texts = numbered(40);

      await publishAll(connection, queue, texts);
      // With a window of one each, neither can have both of the first two.
      const [first] = await inboxes[0].take(1);
      const [second] = await inboxes[1].take(1);
      const got = [text(first), text(second)];
      const { promise: all, resolve } = Promise.withResolvers<void>();
      const go = (delivery: Delivery) => {
        got.push(text(delivery));
        void delivery.ack();
        if (got.length === 40) resolve();
      };
      for (const inbox of inboxes) inbox.onArrival = go;
      await Promise.all([first?.ack(), second?.ack()]);
      await all;

      assert.deepEqual(got.sort(), texts.sort());
    });

    test("what was acknowledged is gone; what was not is delivered again after the connection closes", async () => {
      const { connection, queue } = await withQueue();
      await publishAll(connection, queue, ["a", "b", "c"]);
      const first = await connect(10);
      const deliveries = await (await Inbox.open(first, queue)).take(3);

      await deliveries[1]?.ack();
      await first.close();
      const again = await (await Inbox.open(connection, queue)).take(2);

      assert.deepEqual(again.map(text), ["a", "c"]);
      assert.deepEqual(
        again.map((each) => each.redelivered),
        [true, true],
      );
      await Promise.all(again.map((each) => each.ack()));
      assert.equal(await connection.depth(queue), 0);
    });

    test("what is requeued comes again, marked, before what is younger", async () => {
      const { connection, queue } = await withQueue(1);
      await publishAll(connection, queue, ["a", "b"]);
      const inbox = await Inbox.open(connection, queue);
      const [first] = await inbox.take(1);

      await first?.requeue();
      const [again] = await inbox.take(1);

      assert.equal(text(again), "a");
      assert.equal(again?.redelivered, true);
      await again?.ack();
      const [next] = await inbox.take(1);
      assert.equal(text(next), "b");
      assert.equal(next?.redelivered, false);
      await next?.ack();
    });

    test("what is rejected is never delivered again", async () => {
      const { connection, queue } = await withQueue(1);
      await publishAll(connection, queue, ["a", "b"]);
      const inbox = await Inbox.open(connection, queue);
      const [first] = await inbox.take(1);

      await first?.reject();
      const [next] = await inbox.take(1);

      assert.equal(text(next), "b");
      await next?.ack();
      await connection.close();
      const later = await connect();
      assert.equal(await later.depth(queue), 0);
    });

    test("only the first of ack, requeue and reject counts", async () => {
      const { connection, queue } = await withQueue(1);
      await publishAll(connection, queue, ["a", "b"]);
      const inbox = await Inbox.open(connection, queue);
      const [first] = await inbox.take(1);

      await first?.ack();
      await first?.requeue();
      await first?.reject();
      await first?.ack();
      const [next] = await inbox.take(1);

      assert.equal(text(next), "b");
      await next?.requeue();
      await next?.ack();
      const [again] = await inbox.take(1);
      assert.equal(text(again), "b");
      await again?.ack();
      assert.equal(await connection.depth(queue), 0);
    });

    test("a cancelled consumer gets nothing more, and what it has can still be settled", async () => {
      const { connection, queue } = await withQueue(1);
      await publishAll(connection, queue, ["a", "b", "c"]);
      const inbox = await Inbox.open(connection, queue);
      const [first] = await inbox.take(1);

      await inbox.consumer.cancel();
      await inbox.consumer.cancel();
      await first?.ack();
      const other = await (await Inbox.open(await connect(), queue)).take(2);

      assert.deepEqual(other.map(text), ["b", "c"]);
      assert.equal(inbox.waiting, 0);
      await Promise.all(other.map((each) => each.ack()));
    });

    test("a message for a queue that does not exist is refused", async () => {
      const connection = await connect();
      const missing = freshName();

      await assert.rejects(connection.publish(to(missing), message("lost")), { code: "ERR_UNROUTABLE" });
      await assert.rejects(connection.publish({ exchange: missing, routingKey: missing }, message("lost")), {
        code: "ERR_UNROUTABLE",
      });
      const { queue } = await withQueue();
      await assert.rejects(connection.publish({ exchange: queue, routingKey: missing }, message("lost")), {
        code: "ERR_UNROUTABLE",
      });
      await connection.declareQueue(missing);
      assert.equal(await connection.depth(missing), 0);
      await connection.publish(to(missing), message("found"));
      assert.equal(await connection.depth(missing), 1);
    });

    test("one refused message among many harms none of the others", async () => {
      const { connection, queue } = await withQueue();
      const missing = freshName();
      const texts = numbered(50);

      const sent = texts.flatMap((each) => [
        connection.publish(to(queue), message(each)),
        connection.publish(to(missing), message(each)).then(
          () => assert.fail("it was taken"),
          (error: { code?: string }) => assert.equal(error.code, "ERR_UNROUTABLE"),
        ),
      ]);
      await Promise.all(sent);

      assert.equal(await connection.depth(queue), 50);
    });

    test("a queue that does not exist cannot be consumed or purged, and has no depth", async () => {
      const connection = await connect();
      const missing = freshName();

      assert.equal(await connection.depth(missing), undefined);
      await assert.rejects(connection.purge(missing), { code: "ERR_QUEUE_MISSING" });
      await assert.rejects(
        connection.consume(missing, () => undefined),
        { code: "ERR_QUEUE_MISSING" },
      );
      assert.equal(await connection.depth(missing), undefined, "asking makes no queue, and the connection lives on");
    });

    test("declaring a queue again, and by several at once, changes nothing", async () => {
      const { connection, queue } = await withQueue();
      await connection.publish(to(queue), message("kept"));
      const other = await connect();

      await Promise.all([connection.declareQueue(queue), other.declareQueue(queue), connection.declareQueue(queue)]);

      assert.equal(await other.depth(queue), 1);
    });

    test("purge drops what waits, says how many, and leaves what is in hand", async () => {
      const { connection, queue } = await withQueue(2);
      await publishAll(connection, queue, numbered(7));
      const inbox = await Inbox.open(connection, queue);
      const held = await inbox.take(2);
      const other = await connect();

      assert.equal(await other.purge(queue), 5);
      assert.equal(await other.depth(queue), 0);
      assert.equal(await other.purge(queue), 0);

      await Promise.all(held.map((each) => each.requeue()));
      const again = await inbox.take(2);
      assert.deepEqual(again.map(text).sort(), ["0", "1"]);
      await Promise.all(again.map((each) => each.ack()));
    });

    test("a lost connection says why, and its messages are delivered again", async () => {
      const { connection, queue } = await withQueue(10);
      await publishAll(connection, queue, ["a", "b"]);
      const held = await (await Inbox.open(connection, queue)).take(2);

      await under.sever();
      const reason = await connection.closed;

      assert.equal((reason as { code?: string }).code, "ERR_BROKER_UNAVAILABLE");
      assert.equal(reason?.message.includes("\n"), false);
      await assert.rejects(connection.publish(to(queue), message("late")), { code: "ERR_BROKER_UNAVAILABLE" });
      await assert.rejects(connection.depth(queue), { code: "ERR_BROKER_UNAVAILABLE" });
      await Promise.all([held[0]?.ack(), held[1]?.requeue(), held[1]?.reject()]);
      const again = await (await Inbox.open(await connect(), queue)).take(2);
      assert.deepEqual(again.map(text).sort(), ["a", "b"]);
      assert.ok(again.every((each) => each.redelivered));
      await Promise.all(again.map((each) => each.ack()));
      await connection.close();
      assert.equal(await connection.closed, reason, "closing what was lost changes nothing");
    });

    test("what publish confirmed before the connection was lost is there, and each publish ends", async () => {
      const { connection, queue } = await withQueue();
      const confirmed: string[] = [];
      const codes = new Set<unknown>();

      const sent = numbered(2_000).map((each) =>
        connection.publish(to(queue), message(each)).then(
          () => confirmed.push(each),
          (error: { code?: string }) => codes.add(error.code),
        ),
      );
      await sent[0];
      await under.sever();
      await Promise.all(sent);

      for (const code of codes)
        assert.ok(code === "ERR_OUTCOME_UNKNOWN" || code === "ERR_BROKER_UNAVAILABLE", String(code));
      const later = await connect();
      const depth = (await later.depth(queue)) ?? 0;
      assert.ok(depth >= confirmed.length, `${confirmed.length} confirmed, ${depth} there`);
      const got = new Set((await (await Inbox.open(later, queue)).take(depth)).map(text));
      assert.deepEqual(
        confirmed.filter((each) => !got.has(each)),
        [],
      );
    });

    test("close is once: closed resolves with undefined, later calls are refused", async () => {
      const { connection, queue } = await withQueue();

      await Promise.all([connection.close(), connection.close()]);
      await connection.close();

      assert.equal(await connection.closed, undefined);
      await assert.rejects(connection.publish(to(queue), message("x")), { code: "ERR_CLOSED" });
      await assert.rejects(connection.declareQueue(queue), { code: "ERR_CLOSED" });
      await assert.rejects(
        connection.consume(queue, () => undefined),
        { code: "ERR_CLOSED" },
      );
      await assert.rejects(connection.setPrefetch(1), { code: "ERR_CLOSED" });
      await assert.rejects(connection.depth(queue), { code: "ERR_CLOSED" });
      await assert.rejects(connection.purge(queue), { code: "ERR_CLOSED" });
    });

    test("what was acknowledged just before close stays acknowledged", async () => {
      const { connection, queue } = await withQueue();
      const consuming = await connect(0);
      await publishAll(connection, queue, numbered(200));
      const deliveries = await (await Inbox.open(consuming, queue)).take(200);

      for (const delivery of deliveries.slice(0, 199)) void delivery.ack();
      await consuming.close();
      const [last] = await (await Inbox.open(connection, queue)).take(1);

      assert.equal(text(last), "199");
      await last?.ack();
      assert.equal(await connection.depth(queue), 0);
    });

    test("a consumer that throws ends its connection, and loses no message", async () => {
      const { connection, queue } = await withQueue();
      const consuming = await connect(5);
      await connection.publish(to(queue), message("kept"));

      await consuming.consume(queue, () => {
        throw new Error("a bug in the consumer");
      });
      const reason = await consuming.closed;

      assert.match(String(reason?.message), /a bug in the consumer/);
      const [again] = await (await Inbox.open(connection, queue)).take(1);
      assert.equal(text(again), "kept");
      await again?.ack();
    });

    test("input that a broker cannot carry is refused, and nothing else suffers", async () => {
      const { connection, queue } = await withQueue();
      const refused = { code: "ERR_INVALID_INPUT" };
      const withProperties = (properties: WireProperties): WireMessage => ({ ...message("x"), properties });

      await assert.rejects(connection.declareQueue(""), refused);
      await assert.rejects(connection.declareQueue("ů".repeat(128)), refused);
      await assert.rejects(connection.setPrefetch(-1), refused);
      await assert.rejects(connection.setPrefetch(1.5), refused);
      await assert.rejects(connection.publish(to(""), message("x")), refused);
      await assert.rejects(connection.publish(to(queue), withProperties({ priority: 256 })), refused);
      await assert.rejects(connection.publish(to(queue), withProperties({ expiration: "soon" })), refused);
      await assert.rejects(connection.publish(to(queue), withProperties({ correlationId: "x".repeat(256) })), refused);

      await connection.publish(to(queue), message("still here"));
      assert.equal(await connection.depth(queue), 1);
    });

    test("a broker that was closed makes no connections", async () => {
      const { broker, close } = await open();

      await broker.close();
      await broker.close();

      await assert.rejects(broker.connect({ name: "late", timeoutMs: 1_000 }), { code: "ERR_CLOSED" });
      await close([]);
    });
  });
}

/** The deliveries of one consumer, waited for by number. */
class Inbox {
  readonly #arrived: Delivery[] = [];
  readonly #takers: { readonly count: number; readonly resolve: (deliveries: Delivery[]) => void }[] = [];
  /** Called in place of keeping what arrives. */
  onArrival: ((delivery: Delivery) => void) | undefined;
  consumer!: Consumer;

  /** @param also called with each delivery, which is kept too */
  static async open(connection: BrokerConnection, queue: string, also?: (delivery: Delivery) => void): Promise<Inbox> {
    const inbox = new Inbox();
    inbox.consumer = await connection.consume(queue, (delivery) => {
      inbox.#arrive(delivery);
      also?.(delivery);
    });
    return inbox;
  }

  /** How many have arrived that nobody took. */
  get waiting(): number {
    return this.#arrived.length;
  }

  take(count: number): Promise<Delivery[]> {
    return new Promise((resolve) => {
      this.#takers.push({ count, resolve });
      this.#serve();
    });
  }

  #arrive(delivery: Delivery): void {
    if (this.onArrival !== undefined) {
      this.onArrival(delivery);
      return;
    }
    this.#arrived.push(delivery);
    this.#serve();
  }

  #serve(): void {
    const [taker] = this.#takers;
    if (taker === undefined || this.#arrived.length < taker.count) return;
    this.#takers.shift();
    taker.resolve(this.#arrived.splice(0, taker.count));
  }
}

function to(queue: string) {
  return { exchange: "", routingKey: queue };
}

function message(body: string | Uint8Array): WireMessage {
  return {
    body: typeof body === "string" ? Buffer.from(body) : body,
    properties: { contentType: "application/json", contentEncoding: "utf-8", deliveryMode: 2 },
    headers: nullProto({ task: "demo.foo", id: "1" }),
  };
}

function publishAll(connection: BrokerConnection, queue: string, texts: readonly string[]): Promise<unknown> {
  return Promise.all(texts.map((each) => connection.publish(to(queue), message(each))));
}

function text(delivery: Delivery | undefined): string {
  return Buffer.from(delivery?.message.body ?? []).toString();
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(i));
}

function nullProto(from: Record<string, unknown>): Record<string, unknown> {
  return Object.assign(Object.create(null), from);
}

/** As an ordinary object, for comparing: whatever prototypes it has inside. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
