/** How connections end, and that no message ends with them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type BrokerSuite, Inbox, message, numbered, publishAll, text, to } from "./broker-suite.ts";

export function brokerEnds(suite: BrokerSuite): void {
  test("a lost connection says why, and its messages are delivered again", async () => {
    const { connection, queue } = await suite.withQueue(10);
    await publishAll(connection, queue, ["a", "b"]);
    const held = await (await Inbox.open(connection, queue)).take(2);

    await suite.under.sever();
    const reason = await connection.closed;

    assert.equal((reason as { code?: string }).code, "ERR_BROKER_UNAVAILABLE");
    assert.equal(reason?.message.includes("\n"), false);
    await assert.rejects(connection.publish(to(queue), message("late")), { code: "ERR_BROKER_UNAVAILABLE" });
    await assert.rejects(connection.depth(queue), { code: "ERR_BROKER_UNAVAILABLE" });
    await Promise.all([held[0]?.ack(), held[1]?.requeue(), held[1]?.reject()]);
    const again = await (await Inbox.open(await suite.connect(), queue)).take(2);
    assert.deepEqual(again.map(text).sort(), ["a", "b"]);
    assert.ok(again.every((each) => each.redelivered));
    await Promise.all(again.map((each) => each.ack()));
    await connection.close();
    assert.equal(await connection.closed, reason, "closing what was lost changes nothing");
  });

  test("what publish confirmed before the connection was lost is there, and each publish ends", async () => {
    const { connection, queue } = await suite.withQueue();
    const confirmed: string[] = [];
    const codes = new Set<unknown>();

    const sent = numbered(2_000).map((each) =>
      connection.publish(to(queue), message(each)).then(
        () => confirmed.push(each),
        (error: { code?: string }) => codes.add(error.code),
      ),
    );
    await sent[0];
    await suite.under.sever();
    await Promise.all(sent);

    for (const code of codes)
      assert.ok(code === "ERR_OUTCOME_UNKNOWN" || code === "ERR_BROKER_UNAVAILABLE", String(code));
    const later = await suite.connect();
    const depth = (await later.depth(queue)) ?? 0;
    assert.ok(depth >= confirmed.length, `${confirmed.length} confirmed, ${depth} there`);
    const got = new Set((await (await Inbox.open(later, queue)).take(depth)).map(text));
    assert.deepEqual(
      confirmed.filter((each) => !got.has(each)),
      [],
    );
  });

  test("close is once: closed resolves with undefined, later calls are refused", async () => {
    const { connection, queue } = await suite.withQueue();

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
    const { connection, queue } = await suite.withQueue();
    const consuming = await suite.connect(0);
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
    const { connection, queue } = await suite.withQueue();
    const consuming = await suite.connect(5);
    await connection.publish(to(queue), message("kept"));

    const consume = consuming.consume(queue, () => {
      throw new Error("a bug in the consumer");
    });
    // The delivery may come before the answer to consume does.
    await consume.catch((error: { code?: string }) => assert.equal(error.code, "ERR_BROKER_UNAVAILABLE"));
    const reason = await consuming.closed;

    assert.match(String(reason?.message), /a bug in the consumer/);
    const [again] = await (await Inbox.open(connection, queue)).take(1);
    assert.equal(text(again), "kept");
    await again?.ack();
  });

  test("a broker that was closed makes no connections", async () => {
    const { broker, close } = await suite.open();

    await broker.close();
    await broker.close();

    await assert.rejects(broker.connect({ name: "late", timeoutMs: 1_000 }), { code: "ERR_CLOSED" });
    await close([]);
  });
}
