/** The embedded broker between processes: real ones, that are killed as a machine kills them. */
import assert from "node:assert/strict";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { BrokerConnection, Delivery } from "../../src/brokers/broker.ts";
import { openSqliteBroker } from "../../src/brokers/sqlite.ts";
import type { Clock } from "../../src/kit/clock.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { atEnd } from "../support/cleanup.ts";
import { startNode } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";

const CHILD = join(import.meta.dirname, "../support/sqlite-broker-child.ts");
const HANG = { timeout: 120_000 };

/** A file of the test's own, this process's connection to it, and others. */
async function place(t: TestContext, clock?: Clock) {
  const path = join(await tempDir(t), "broker.db");
  const broker = await openSqliteBroker(path, clock === undefined ? {} : { clock });
  atEnd(t, () => broker.close());
  const connection = await broker.connect({ name: "test", timeoutMs: 60_000 });
  atEnd(t, () => connection.close());
  await connection.declareQueue("q");
  await connection.declareQueue("done");
  const start = (mode: string, ...numbers: number[]) =>
    startNode(t, CHILD, { args: [path, mode, ...numbers.map(String)] });
  return { connection, start };
}

test(
  "what a killed process had in hand goes to another at once, marked, none lost and none doubled",
  HANG,
  async (t) => {
    const { connection, start } = await place(t);
    await publish(connection, 0, 10);
    const holder = start("hold", 10);
    for (let i = 0; i < 10; i += 1) await holder.waitForLine(new RegExp(`^got ${i} false$`));
    // Another waits already, and one message waits for it behind those.
    await connection.setPrefetch(100);
    const inbox = new Inbox();
    await connection.consume("q", inbox.receive);
    await publish(connection, 10, 11);
    const [fresh] = await inbox.take(1);

    await holder.kill9();
    const returned = await inbox.take(10);

    assert.equal(`${textOf(fresh)} ${fresh?.redelivered}`, "10 false");
    assert.deepEqual(returned.map(textOf), numbered(0, 10));
    assert.ok(returned.every((each) => each.redelivered));
    await Promise.all([fresh, ...returned].map((each) => each?.ack()));
    assert.equal(await connection.depth("q"), 0);
    assert.equal(inbox.untaken, 0);
  },
);

test("a process that starts after another was killed gets what that one held", HANG, async (t) => {
  const { connection, start } = await place(t);
  await publish(connection, 0, 10);
  const holder = start("hold", 10);
  await holder.waitForLine(/^got 9 false$/);
  await holder.kill9();

  const next = start("hold", 20);
  for (let i = 0; i < 10; i += 1) await next.waitForLine(new RegExp(`^got ${i} true$`));
  await publish(connection, 10, 11);
  await next.waitForLine(/^got 10 false$/);

  assert.equal(next.lines.filter((line) => line.startsWith("got")).length, 11);
});

test("two processes share a thousand messages of two others, each exactly once", HANG, async (t) => {
  const { connection, start } = await place(t);
  const inbox = new Inbox();
  await connection.consume("done", inbox.receive);
  const workers = [start("work", 10), start("work", 10)];

  const publishers = [start("publish", 0, 500), start("publish", 500, 1_000)];
  for (const worker of workers) await worker.waitForLine(/^full$/); // so that each has its share
  for (const worker of workers) worker.signal("SIGUSR2");
  const done = (await inbox.take(1_000)).map((each) => textOf(each).split(" "));
  for (const publisher of publishers) assert.equal((await publisher.ended).status, 0);
  for (const worker of workers) assert.equal((await worker.stop()).status, 0, worker.text);

  assert.deepEqual(
    done.map(([, text]) => Number(text)).sort((a, b) => a - b),
    numbered(0, 1_000).map(Number),
  );
  assert.ok(done.every(([, , redelivered]) => redelivered === "false"));
  assert.equal(new Set(done.map(([pid]) => pid)).size, 2);
  assert.equal(await connection.depth("q"), 0, "nothing was returned when they closed");
  assert.equal(inbox.untaken, 0);
});

test("a process killed in the middle of its work loses nothing, and repeats only what is marked", HANG, async (t) => {
  const { connection, start } = await place(t);
  const inbox = new Inbox();
  await connection.consume("done", inbox.receive);
  await publish(connection, 0, 1_000);
  const victim = start("work", 20);
  await victim.waitForLine(/^full$/);
  victim.signal("SIGUSR2");
  const done = await inbox.take(100);
  await victim.kill9();

  const heir = start("work", 20);
  await heir.waitForLine(/^full$/);
  heir.signal("SIGUSR2");
  const seen = () => new Set(done.map((each) => textOf(each).split(" ")[1]));
  while (seen().size < 1_000) done.push(...(await inbox.take(1)));
  assert.equal((await heir.stop()).status, 0, heir.text);

  const repeated = done.filter((each, i) => {
    const text = textOf(each).split(" ")[1];
    return done.findIndex((other) => textOf(other).split(" ")[1] === text) < i;
  });
  assert.ok(repeated.length <= 20, `${repeated.length} were repeated: more than its window held`);
  assert.ok(repeated.every((each) => textOf(each).endsWith(" true")));
  assert.equal(await connection.depth("q"), 0);
});

test("a publish of another process wakes a consumer that waits, though its clock stands still", HANG, async (t) => {
  const { connection, start } = await place(t, new FakeClock());
  const inbox = new Inbox();
  await connection.consume("q", inbox.receive);
  await connection.depth("q");

  start("publish", 7, 8);
  const [first] = await inbox.take(1);
  await first?.ack();
  start("publish", 8, 9);
  const [second] = await inbox.take(1);

  assert.deepEqual([first, second].map(textOf), ["7", "8"]);
});

test("what a publisher was told is there when it is killed the moment after", HANG, async (t) => {
  const { connection, start } = await place(t);
  const publisher = start("publish", 0, 50_000);
  await publisher.waitForLine(/^confirmed/);
  await publisher.kill9();
  const confirmed = publisher.lines.filter((line) => /^confirmed \d+$/.test(line)).map((line) => line.split(" ")[1]);

  const depth = (await connection.depth("q")) ?? 0;
  const inbox = new Inbox();
  await connection.consume("q", inbox.receive);
  const there = (await inbox.take(depth)).map(textOf);

  assert.ok(confirmed.length > 0);
  const all = new Set(there);
  assert.equal(all.size, there.length, "none is there twice");
  assert.deepEqual(
    confirmed.filter((each) => !all.has(each ?? "")),
    [],
  );
});

test(
  "a file that is away for a while costs no message: what was acknowledged meanwhile is written when it is back",
  HANG,
  async (t) => {
    const path = join(await tempDir(t), "broker.db");
    const log: string[] = [];
    const broker = await openSqliteBroker(path, { log: { warn: (text) => void log.push(text) } });
    atEnd(t, () => broker.close());
    const connection = await broker.connect({ name: "test", timeoutMs: 60_000 });
    atEnd(t, () => connection.close());
    await connection.declareQueue("q");
    await connection.setPrefetch(2);
    const inbox = new Inbox();
    await connection.consume("q", inbox.receive);
    await publish(connection, 0, 1);
    const [first] = await inbox.take(1);

    await move(path, `${path}-away`);
    await assert.rejects(publish(connection, 1, 2), { code: "ERR_STORE_UNAVAILABLE" });
    await assert.rejects(broker.connect({ name: "another", timeoutMs: 60_000 }), { code: "ERR_STORE_UNAVAILABLE" });
    const acked = first?.ack();
    await move(`${path}-away`, path);
    await acked;
    await publish(connection, 2, 3);
    const [next] = await inbox.take(1);

    assert.equal(textOf(next), "2");
    await next?.ack();
    assert.equal(await connection.depth("q"), 0);
    assert.equal(log.filter((line) => line.includes("trying again until it works")).length <= 3, true, log.join("\n"));
  },
);

/** The file and its log. */
async function move(from: string, to: string): Promise<void> {
  await rename(from, to);
  await rename(`${from}-wal`, `${to}-wal`).catch((error: NodeJS.ErrnoException) => assert.equal(error.code, "ENOENT"));
}

/** Deliveries, waited for by number. */
class Inbox {
  readonly #arrived: Delivery[] = [];
  #wake: () => void = () => undefined;

  readonly receive = (delivery: Delivery): void => {
    this.#arrived.push(delivery);
    this.#wake();
  };

  get untaken(): number {
    return this.#arrived.length;
  }

  async take(count: number): Promise<Delivery[]> {
    while (this.#arrived.length < count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#arrived.splice(0, count);
  }
}

async function publish(connection: BrokerConnection, from: number, until: number): Promise<void> {
  await Promise.all(
    numbered(from, until).map((text) =>
      connection.publish(
        { exchange: "", routingKey: "q" },
        { body: Buffer.from(text), properties: {}, headers: { task: "demo.foo" } },
      ),
    ),
  );
}

function numbered(from: number, until: number): string[] {
  return Array.from({ length: until - from }, (_, i) => String(from + i));
}

function textOf(delivery: Delivery | undefined): string {
  return Buffer.from(delivery?.message.body ?? []).toString();
}
