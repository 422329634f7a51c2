/** Queues of one's own: what is sent to who listens, and to nobody. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { BrokerConnection, Consumer, HeardMessage } from "../brokers/broker.ts";
import { type Exchange, exchangeNamed, type Queue, queueNamed } from "../brokers/topology.ts";
import { type BrokerSuite, Inbox, message, numbered, publishAll } from "./broker-suite.ts";

/** A safety net, not an expectation. */
const LOOKS = 3_000;

class Ear {
  readonly heard: HeardMessage[] = [];
  consumer!: Consumer;

  static async open(connection: BrokerConnection, queue: Queue): Promise<Ear> {
    const ear = new Ear();
    ear.consumer = await connection.subscribe(queue, (each) => ear.heard.push(each));
    return ear;
  }

  get texts(): string[] {
    return this.heard.map((each) => Buffer.from(each.message.body).toString());
  }

  /** Waits until this many came, and answers all. */
  async has(count: number): Promise<string[]> {
    await until(() => this.heard.length >= count);
    return this.texts;
  }
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let looks = 0; looks < LOOKS; looks += 1) {
    if (await holds()) return;
    await wait(10);
  }
  throw new Error(`it did not come to that in ${LOOKS} looks`);
}

/** A broker without fanout says so, and takes nothing that would be lost. */
export function brokerRefusesToSubscribe(suite: BrokerSuite): void {
  test("it has no subscriptions, and says so", async () => {
    const connection = await suite.connect();
    assert.equal(suite.under.broker.traits.fanout, false);
    const refused = { code: "ERR_INVALID_INPUT" };
    await assert.rejects(connection.declareExchange(exchangeNamed(suite.freshName())), refused);
    await assert.rejects(
      connection.subscribe(queueNamed(suite.freshName()), () => undefined),
      refused,
    );
  });
}

export function brokerSubscribes(suite: BrokerSuite): void {
  const exchange = (type: string) => exchangeNamed(suite.freshName(), { type, durable: false, autoDelete: true });
  const own = (of: Exchange, routingKey: string, name = suite.freshName()) =>
    queueNamed(name, { exchange: of, routingKey, durable: false, autoDelete: true });
  const say = (connection: BrokerConnection, of: Exchange, routingKey: string, text: string) =>
    connection.publish(
      { exchange: of.name, routingKey, exchangeType: of.type, unheard: true },
      message(JSON.stringify(text)),
    );
  const json = (texts: readonly string[]) => texts.map((each) => JSON.stringify(each));

  describe("subscriptions", () => {
    test("fanout: each subscriber hears all, in order, unicode as it was", async () => {
      assert.equal(suite.under.broker.traits.fanout, true);
      const news = exchange("fanout");
      const [one, two] = [await suite.connect(), await suite.connect()];
      const ears = [
        await Ear.open(one, own(news, "")),
        await Ear.open(two, own(news, "")),
        await Ear.open(two, own(news, "")),
      ];
      const said = ["a", "žluťoučký 🐎", "漢字 \u0000", ...numbered(50)];
      for (const each of said) await say(one, news, "", each);
      for (const ear of ears) assert.deepEqual(await ear.has(said.length), json(said));
      assert.equal(ears[0]?.heard[0]?.exchange, news.name);
    });

    test("topic: by its keys", async () => {
      const events = exchange("topic");
      const connection = await suite.connect();
      const [tasks, all, exact] = [
        await Ear.open(connection, own(events, "task.*")),
        await Ear.open(connection, own(events, "#")),
        await Ear.open(connection, own(events, "worker.online")),
      ];
      for (const key of ["task.sent", "worker.online", "task.end"]) await say(connection, events, key, key);
      assert.deepEqual(await all.has(3), json(["task.sent", "worker.online", "task.end"]));
      assert.deepEqual(await tasks.has(2), json(["task.sent", "task.end"]));
      assert.deepEqual(await exact.has(1), json(["worker.online"]));
      assert.equal(tasks.heard[0]?.routingKey, "task.sent");
    });

    test("direct: a reply queue hears its own key alone", async () => {
      const replies = exchange("direct");
      const [asker, worker] = [await suite.connect(), await suite.connect()];
      const mine = await Ear.open(asker, own(replies, "mine"));
      const other = await Ear.open(asker, own(replies, "other"));
      await say(worker, replies, "mine", "x");
      await say(worker, replies, "other", "y");
      await say(worker, replies, "mine", "z");
      assert.deepEqual(await mine.has(2), json(["x", "z"]));
      assert.deepEqual(await other.has(1), json(["y"]));
    });

    test("nobody listening is fine where that is allowed", async () => {
      for (const type of ["fanout", "direct", "topic"]) {
        const connection = await suite.connect();
        const empty = exchange(type);
        await connection.declareExchange(empty);
        await say(connection, empty, "nobody", "x");
      }
    });

    test("nothing comes after cancel; the queue is gone; the others go on", async () => {
      const news = exchange("fanout");
      const connection = await suite.connect();
      const queue = own(news, "");
      const [ends, goesOn] = [await Ear.open(connection, queue), await Ear.open(connection, own(news, ""))];
      await say(connection, news, "", "before");
      await ends.has(1);
      await ends.consumer.cancel();
      await ends.consumer.cancel();
      await say(connection, news, "", "after");
      assert.deepEqual(await goesOn.has(2), json(["before", "after"]));
      assert.deepEqual(ends.texts, json(["before"]));
      const other = await suite.connect();
      await until(async () => (await other.depth(queue.name)) === undefined);
    });

    test("it is not counted in the prefetch window, and a full window does not hold it up", async () => {
      const news = exchange("fanout");
      const { connection, queue } = await suite.withQueue(1);
      const inbox = await Inbox.open(connection, queue);
      await publishAll(connection, queue, ["1", "2"]);
      const [held] = await inbox.take(1);
      const ear = await Ear.open(connection, own(news, ""));
      for (const each of numbered(20)) await say(connection, news, "", each);
      assert.deepEqual(await ear.has(20), json(numbered(20)));
      assert.equal(inbox.waiting, 0);
      await held?.ack();
      await inbox.take(1).then(([next]) => next?.ack());
    });

    test("a lost connection hears no more, and ends; a new one hears again", async () => {
      const news = exchange("fanout");
      const connection = await suite.connect();
      const ear = await Ear.open(connection, own(news, ""));
      await suite.under.sever();
      assert.ok((await connection.closed) instanceof Error);
      const again = await suite.connect();
      const second = await Ear.open(again, own(news, ""));
      await say(again, news, "", "x");
      assert.deepEqual(await second.has(1), json(["x"]));
      assert.deepEqual(ear.texts, []);
    });
  });
}
