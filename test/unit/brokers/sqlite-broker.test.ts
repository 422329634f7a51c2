/** What only the broker in the embedded file does: turns, priorities, leases, and what it takes for headers. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";
import { headersOf, headersText } from "../../../src/brokers/sqlite/text.ts";
import { openSqliteBroker } from "../../../src/brokers/sqlite.ts";
import { tempDir } from "../../support/temp.ts";
import { Arrivals, bench, numbered, publish, publishElsewhere, textOf, wire } from "./sqlite-support.ts";

const to = { exchange: "", routingKey: "q" };

test("a message of higher priority goes before those that came earlier, and keeps its place when it is requeued", async (t) => {
  const { connect } = await bench(t);
  const { connection } = await connect(1);
  await connection.publish(to, wire("low"));
  await connection.publish(to, wire("high", { priority: 9 }));
  await connection.publish(to, wire("middle", { priority: 5 }));
  await connection.publish(to, wire("high too", { priority: 9 }));
  const seen: string[] = [];
  const { promise: done, resolve } = Promise.withResolvers<void>();

  await connection.consume("q", (delivery) => {
    seen.push(textOf(delivery));
    void (seen.length === 1 ? delivery.requeue() : delivery.ack());
    if (seen.length === 5) resolve();
  });
  await done;

  assert.deepEqual(seen, ["high", "high", "high too", "middle", "low"]);
});

test("a claim takes one of each queue in turn, however full one of them is", async (t) => {
  const { ops } = await bench(t);
  await ops.call("declare", "other");
  for (const text of numbered(10)) await publishElsewhere(ops, text);
  for (const text of ["x", "y"]) await publishElsewhere(ops, text, "other");
  const [q, other] = await Promise.all([ops.call("find", "q"), ops.call("find", "other")]);
  assert.ok(q !== null && other !== null);
  const claim = { owner: "me", again: false, queues: [q, other], maxBytes: 1_000, leaseMs: 1_000 };

  const first = await ops.call("claim", { ...claim, claim: 1, limit: 6 });
  const rest = await ops.call("claim", { ...claim, claim: 2, limit: 10 });

  assert.equal(Buffer.from(first.bodies).toString(), "0x1y23");
  assert.equal(first.more, true);
  assert.equal(Buffer.from(rest.bodies).toString(), "456789");
  assert.equal(rest.more, false);
});

test("a claim ends at so many bytes, but takes one message at least", async (t) => {
  const { ops } = await bench(t);
  for (const text of ["large one", "two", "three"]) await publishElsewhere(ops, text);
  const q = (await ops.call("find", "q")) as number;
  const claim = { owner: "me", again: false, queues: [q], limit: 10, leaseMs: 1_000 };

  const first = await ops.call("claim", { ...claim, claim: 1, maxBytes: 1 });
  const second = await ops.call("claim", { ...claim, claim: 2, maxBytes: 8 });

  assert.equal(Buffer.from(first.bodies).toString(), "large one");
  assert.equal(first.more, true);
  assert.equal(Buffer.from(second.bodies).toString(), "twothree");
});

test("with room for one message only, queues take turns too", async (t) => {
  const { connect } = await bench(t);
  const { connection } = await connect(1);
  await connection.declareQueue("other");
  await publish(connection, numbered(20));
  await publish(connection, ["x", "y", "z"], "other");
  const seen: string[] = [];
  const { promise: done, resolve } = Promise.withResolvers<void>();
  const receive = (delivery: Parameters<typeof textOf>[0]) => {
    seen.push(textOf(delivery));
    void delivery?.ack();
    if (seen.length === 23) resolve();
  };

  await Promise.all([connection.consume("q", receive), connection.consume("other", receive)]);
  await done;

  assert.ok(seen.indexOf("z") < 9, `the third of the short queue was number ${seen.indexOf("z")}`);
});

test("two consumers of one queue on one connection take turns", async (t) => {
  const { connect } = await bench(t);
  const { connection } = await connect(0);
  const counts = [0, 0];
  const { promise: done, resolve } = Promise.withResolvers<void>();
  const count = (which: 0 | 1) => () => {
    counts[which] = (counts[which] ?? 0) + 1;
    if ((counts[0] ?? 0) + (counts[1] ?? 0) === 100) resolve();
  };
  await Promise.all([connection.consume("q", count(0)), connection.consume("q", count(1))]);

  await publish(connection, numbered(100));
  await done;

  assert.deepEqual(counts, [50, 50]);
});

test("a message whose expiration has passed is delivered all the same: who runs it says that it expired", async (t) => {
  const { connect, clock } = await bench(t);
  const { connection } = await connect(1);
  await connection.publish(to, wire("late", { expiration: "1" }));
  await clock.advance(60_000);
  const arrivals = new Arrivals();

  await connection.consume("q", arrivals.receive);
  const [late] = await arrivals.take(1);

  assert.equal(late?.message.properties.expiration, "1");
});

test("ten thousand messages are purged in steps, and what comes after is kept", async (t) => {
  const { connect } = await bench(t);
  const { connection } = await connect();
  await publish(connection, numbered(10_000));

  const purged = connection.purge("q");
  await publish(connection, ["after"]);

  assert.equal(await purged, 10_000);
  assert.equal(await connection.depth("q"), 1);
});

test("what a holder out of sight has is returned when its lease is over, and not before", async (t) => {
  const { connect, clock, ops } = await bench(t);
  await publishElsewhere(ops, "held");
  // Never enlisted: nobody can tell whether its process lives, as of one in another container.
  const claim = { owner: "elsewhere", claim: 1, again: false, limit: 1, maxBytes: 1_000, leaseMs: 30_000 };
  const queue = await ops.call("find", "q");
  assert.ok(queue !== null);
  await ops.call("claim", { ...claim, queues: [queue] }, { nowMs: clock.wallMs() });
  const { connection, file } = await connect(10);
  const arrivals = new Arrivals();
  await connection.consume("q", arrivals.receive);

  await clock.advance(29_000);
  await publishElsewhere(ops, "later");
  file.change();
  const [first] = await arrivals.take(1);
  assert.equal(textOf(first), "later");
  assert.equal(first?.redelivered, false);
  while (arrivals.all.length === 1) await clock.advance(1_000);

  assert.equal(textOf(arrivals.all[1]), "held");
  assert.equal(arrivals.all[1]?.redelivered, true);
});

test("a holder that lives keeps what it has, however long its lease is over", {
  skip: process.platform !== "linux",
}, async (t) => {
  const { connect, clock, ops } = await bench(t);
  const { connection: holding, file: itsFile } = await connect(1);
  const held = new Arrivals();
  await holding.consume("q", held.receive);
  await publish(holding, ["held"]);
  await held.take(1);
  // Its renewals are lost, as if it were stopped.
  itsFile.faults.push({ op: "renew", error: new Error("lost"), done: false, times: 1_000_000 });
  const { connection, file } = await connect(10);
  const arrivals = new Arrivals();
  await connection.consume("q", arrivals.receive);

  for (let i = 0; i < 60; i += 1) await clock.advance(1_000);
  await publishElsewhere(ops, "later");
  file.change();
  const [first] = await arrivals.take(1);
  assert.equal(textOf(first), "later");
  assert.equal(await ops.call("depth", "q"), 0);
  await held.all[0]?.ack();
  await holding.close();
  await publish(connection, ["last"]);
  const [last] = await arrivals.take(1);

  assert.equal(textOf(last), "last", "the held one never came");
});

test("a lease is renewed while something is in hand, and a consumer with nothing in hand writes nothing", async (t) => {
  const { connect, clock } = await bench(t);
  const { connection, file } = await connect(1);
  const arrivals = new Arrivals();
  await connection.consume("q", arrivals.receive);
  await publish(connection, ["a"]);
  const [first] = await arrivals.take(1);
  const renewals = () => file.asked.filter((op) => op === "renew").length;

  await clock.advance(60_000);
  assert.equal(renewals(), 6);
  await first?.ack();
  await clock.advance(20_000);
  const asked = file.asked.length;
  await clock.advance(60_000);

  assert.deepEqual(
    file.asked.slice(asked).filter((op) => op !== "list" && op !== "look"),
    [],
  );
});

test("a cancelled consumer's claim that was under way goes to the other consumers, as if it had not been", async (t) => {
  const { connect } = await bench(t);
  const { connection: first, file } = await connect(10);
  const { connection: second } = await connect(10);
  const arrivals = new Arrivals();
  await second.consume("q", arrivals.receive);
  const consumer = await first.consume("q", () => assert.fail("it was cancelled"));
  // The second has no room, so the claim is the first's.
  await second.setPrefetch(1);
  await publish(second, ["a"]);
  await arrivals.take(1);
  await first.depth("q"); // what it had asked has been answered

  const published = publish(first, ["b"]);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(file.asked.slice(-2), ["publish", "claim"], "handed over, and not yet answered");
  await consumer.cancel();
  await published;
  await arrivals.all[0]?.ack();
  const [b] = await arrivals.take(1);

  assert.equal(textOf(b), "b");
  assert.equal(b?.redelivered, false);
});

test("headers come out of the file as they went in, without a prototype", () => {
  const headers = { lang: "py", eta: null, timelimit: [null, 1.5], "": "", "ключ 🐎": { a: [{}] }, toJSON: "text" };

  const back = headersOf(headersText(headers));

  assert.deepEqual({ ...back }, headers);
  assert.equal(Object.getPrototypeOf(back), null);
});

test("a header that no broker carries is refused, and nothing is published", async (t) => {
  const { connect } = await bench(t);
  const { connection } = await connect();

  await assert.rejects(connection.publish(to, { ...wire("x"), headers: { rate: Number.NaN } }), {
    code: "ERR_INVALID_INPUT",
    message: /"rate"/,
  });

  assert.equal(await connection.depth("q"), 0);
});

test("a broker says its URL and what it promises; a path that cannot be is refused at once", async (t) => {
  const folder = await tempDir(t);
  const broker = await openSqliteBroker(join(folder, "b.db"), { durability: "process" });

  assert.equal(broker.url, `sqlite:${join(folder, "b.db")}`);
  assert.deepEqual(broker.traits, {
    transport: "sqlite",
    durability: "process",
    expires: false,
    priorities: "highest-first",
    fanout: false,
  });
  await broker.close();
  await assert.rejects(openSqliteBroker(join(folder, randomUUID(), "b.db")), { code: "ERR_STORE_PATH" });
});

test("messages survive the closing of the last broker", async (t) => {
  const path = join(await tempDir(t), "b.db");
  const options = { name: "test", timeoutMs: 20_000 };
  const before = await openSqliteBroker(path);
  const publishing = await before.connect(options);
  await publishing.declareQueue("q");
  await publish(publishing, ["kept"]);
  await publishing.close();
  await before.close();

  const after = await openSqliteBroker(path);
  const consuming = await after.connect(options);
  const arrivals = new Arrivals();
  await consuming.consume("q", arrivals.receive);
  const [kept] = await arrivals.take(1);

  assert.equal(textOf(kept), "kept");
  assert.equal(kept?.redelivered, false);
  await kept?.ack();
  await consuming.close();
  await after.close();
});

test("a connection outlives the closing of its broker, as a socket does", async (t) => {
  const broker = await openSqliteBroker(join(await tempDir(t), "b.db"));
  const connection = await broker.connect({ name: "test", timeoutMs: 20_000 });
  await connection.declareQueue("q");

  await broker.close();
  await publish(connection, ["a"]);

  assert.equal(await connection.depth("q"), 1);
  await connection.close();
});
