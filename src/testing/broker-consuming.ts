/** Who gets a message: the prefetch window, consumers that share, and what settling does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Delivery } from "../brokers/broker.ts";
import { type BrokerSuite, Inbox, numbered, publishAll, text } from "./broker-suite.ts";

export function brokerDelivers(suite: BrokerSuite): void {
  test("no more than the prefetch count is unacknowledged at once", async () => {
    const { connection, queue } = await suite.withQueue();
    const consuming = await suite.connect(3);
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
    const { connection, queue } = await suite.withQueue();
    const other = suite.freshName();
    await connection.declareQueue(other);
    await publishAll(connection, queue, numbered(20));
    await publishAll(connection, other, numbered(20));
    const consuming = await suite.connect(2);
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
    const { connection, queue } = await suite.withQueue();
    await publishAll(connection, queue, numbered(10));
    const consuming = await suite.connect(1);
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
    const { connection, queue } = await suite.withQueue();
    const [left, right] = [await suite.connect(1), await suite.connect(1)];
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
    const { connection, queue } = await suite.withQueue();
    await publishAll(connection, queue, ["a", "b", "c"]);
    const first = await suite.connect(10);
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

  test("what is requeued comes again, marked, and in its old place", async () => {
    const { connection, queue } = await suite.withQueue(1);
    await publishAll(connection, queue, ["a", "b"]);
    const inbox = await Inbox.open(connection, queue);
    const [first] = await inbox.take(1);

    await first?.requeue();
    const [second] = await inbox.take(1);
    await second?.ack();
    const [third] = await inbox.take(1);
    await third?.ack();

    const seen = [second, third].map((each) => `${text(each)} ${each?.redelivered}`);
    assert.deepEqual(suite.under.keepsPlace ? seen : seen.sort(), ["a true", "b false"]);
    assert.equal(await connection.depth(queue), 0);
  });

  test("what is rejected is never delivered again", async () => {
    const { connection, queue } = await suite.withQueue(1);
    await publishAll(connection, queue, ["a", "b"]);
    const inbox = await Inbox.open(connection, queue);
    const [first] = await inbox.take(1);

    await first?.reject();
    const [next] = await inbox.take(1);

    assert.equal(text(next), "b");
    await next?.ack();
    await connection.close();
    const later = await suite.connect();
    assert.equal(await later.depth(queue), 0);
  });

  test("only the first of ack, requeue and reject counts", async () => {
    const { connection, queue } = await suite.withQueue(1);
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
    const { connection, queue } = await suite.withQueue(1);
    await publishAll(connection, queue, ["a", "b", "c"]);
    const inbox = await Inbox.open(connection, queue);
    const [first] = await inbox.take(1);

    await inbox.consumer.cancel();
    await inbox.consumer.cancel();
    await first?.ack();
    const other = await (await Inbox.open(await suite.connect(), queue)).take(2);

    assert.deepEqual(other.map(text), ["b", "c"]);
    assert.equal(inbox.waiting, 0);
    await Promise.all(other.map((each) => each.ack()));
  });

  test("a queue that does not exist cannot be consumed or purged, and has no depth", async () => {
    const connection = await suite.connect();
    const missing = suite.freshName();

    assert.equal(await connection.depth(missing), undefined);
    await assert.rejects(connection.purge(missing), { code: "ERR_QUEUE_MISSING" });
    await assert.rejects(
      connection.consume(missing, () => undefined),
      { code: "ERR_QUEUE_MISSING" },
    );
    assert.equal(await connection.depth(missing), undefined, "asking makes no queue, and the connection lives on");
  });

  test("purge drops what waits, says how many, and leaves what is in hand", async () => {
    const { connection, queue } = await suite.withQueue(2);
    await publishAll(connection, queue, numbered(7));
    const inbox = await Inbox.open(connection, queue);
    const held = await inbox.take(2);
    const other = await suite.connect();

    assert.equal(await other.purge(queue), 5);
    assert.equal(await other.depth(queue), 0);
    assert.equal(await other.purge(queue), 0);

    await Promise.all(held.map((each) => each.requeue()));
    const again = await inbox.take(2);
    assert.deepEqual(again.map(text).sort(), ["0", "1"]);
    await Promise.all(again.map((each) => each.ack()));
  });
}
