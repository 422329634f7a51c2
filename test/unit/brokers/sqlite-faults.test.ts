/** What the broker in the embedded file does when the file does not do what it is asked, or does not say whether it did. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { OutcomeUnknownError } from "../../../src/kit/errors.ts";
import { StoreCorruptError, StoreFullError, StoreUnavailableError } from "../../../src/kit/store-errors.ts";
import { Arrivals, bench, numbered, publish, publishElsewhere, textOf } from "./sqlite-support.ts";

const full = new StoreFullError("the disk is full");
const lostAnswer = new OutcomeUnknownError("the commit");
const to = { exchange: "", routingKey: "q" };
const empty = { body: Buffer.from("x"), properties: {}, headers: {} };

test("a claim whose answer was lost is asked again, and each message is delivered once", async (t) => {
  const { connect, clock } = await bench(t);
  const { connection, file } = await connect(5);
  await publish(connection, numbered(12));
  file.faults.push({ op: "claim", error: lostAnswer, done: true, times: 2 });
  const arrivals = new Arrivals();

  await connection.consume("q", (delivery) => {
    arrivals.receive(delivery);
    void delivery.ack();
  });
  while (arrivals.all.length === 0) await clock.advance(100);
  const all = await arrivals.take(12);

  assert.deepEqual(all.map(textOf), numbered(12));
  assert.ok(all.every((each) => !each.redelivered));
  await connection.close();
});

test("claims that fail are tried again until they work, and that is said once", async (t) => {
  const { connect, clock, warnings } = await bench(t);
  const { connection, file } = await connect(5);
  await publish(connection, ["a"]);
  file.faults.push({ op: "claim", error: new StoreUnavailableError("locked"), done: false, times: 6 });
  const arrivals = new Arrivals();

  await connection.consume("q", arrivals.receive);
  while (arrivals.all.length === 0) await clock.advance(500);

  assert.equal(textOf(arrivals.all[0]), "a");
  assert.deepEqual(warnings, [
    "sqlite:test: messages cannot be claimed (locked); trying again until it works",
    'sqlite:test: works again, after "messages cannot be claimed"',
  ]);
});

test("an acknowledgement that cannot be written is written later; until then the message takes its place in the window", async (t) => {
  const { connect, clock } = await bench(t);
  const { connection, file } = await connect(1);
  await publish(connection, ["a", "b"]);
  const arrivals = new Arrivals();
  const events: string[] = [];
  await connection.consume("q", (delivery) => {
    events.push(textOf(delivery));
    arrivals.receive(delivery);
  });
  const [first] = await arrivals.take(1);
  file.faults.push({ op: "settle", error: full, done: false, times: 3 });
  file.faults.push({ op: "claim", error: full, done: false, times: 1 }); // it stands in the same group

  const told = first?.ack().then(() => events.push("told"));
  while (events.length < 3) await clock.advance(500);
  await told;
  await arrivals.all[1]?.ack();
  await connection.close();
  const { connection: later } = await connect();

  assert.deepEqual(events, ["a", "told", "b"]);
  assert.equal(await later.depth("q"), 0);
});

test("when a late acknowledgement has made room, the next message comes without being looked for", async (t) => {
  const { connect, clock } = await bench(t);
  const { connection, file } = await connect(1);
  await publish(connection, ["a", "b", "c"]);
  file.faults.push({ op: "settle", error: full, done: false, times: 1 });
  const arrivals = new Arrivals();

  await connection.consume("q", (delivery) => {
    arrivals.receive(delivery);
    void delivery.ack();
  });
  await arrivals.take(2); // the claim of the second went with the first one's acknowledgement
  await clock.advance(100);
  const [third] = await arrivals.take(1);

  assert.equal(textOf(third), "c");
});

test("an acknowledgement that is told twice does not hit the message that has its number now", async (t) => {
  const { connect, clock } = await bench(t);
  const { connection, file } = await connect(10);
  const arrivals = new Arrivals();
  await connection.consume("q", arrivals.receive);
  await publish(connection, ["old"]);
  const [old] = await arrivals.take(1);
  file.faults.push({ op: "settle", error: lostAnswer, done: true, times: 1 });

  const ack = old?.ack();
  while ((file.faults[0]?.times ?? 0) > 0) await clock.advance(0);
  await publish(connection, ["new"]); // the file is empty: it gets the number of the old one
  const [fresh] = await arrivals.take(1);
  const settles = file.asked.filter((op) => op === "settle").length;
  while (file.asked.filter((op) => op === "settle").length === settles) await clock.advance(100);
  await ack;
  await connection.close();
  const { connection: later } = await connect();

  assert.equal(textOf(fresh), "new");
  assert.equal(await later.depth("q"), 1, "the new one was not acknowledged");
});

test("what was acknowledged and not yet written when the connection closes is written on its way out", async (t) => {
  const { connect } = await bench(t);
  const { connection, file } = await connect(10);
  await publish(connection, ["a", "b"]);
  const arrivals = new Arrivals();
  await connection.consume("q", arrivals.receive);
  const [first] = await arrivals.take(2);
  file.faults.push({ op: "settle", error: full, done: false, times: 1 });
  const { promise: failed, resolve } = Promise.withResolvers<void>();
  const ack = first?.ack();
  setImmediate(resolve);
  await failed;

  await connection.close();
  await ack;
  const { connection: later } = await connect();
  const again = new Arrivals();
  await later.consume("q", again.receive);
  const [left] = await again.take(1);

  assert.equal(textOf(left), "b");
  assert.equal(left?.redelivered, true);
  assert.equal(await later.depth("q"), 0);
});

test("what cannot be returned when a connection closes is returned later", async (t) => {
  const { connect, clock, warnings } = await bench(t);
  const { connection, file } = await connect(10);
  await publish(connection, ["a"]);
  const arrivals = new Arrivals();
  await connection.consume("q", arrivals.receive);
  await arrivals.take(1);
  const { connection: other } = await connect(10);
  const others = new Arrivals();
  await other.consume("q", others.receive);
  file.faults.push({ op: "leave", error: full, done: false, times: 1 });

  await connection.close();
  assert.equal(await connection.closed, undefined);
  while (others.all.length === 0) await clock.advance(100);

  assert.equal(textOf(others.all[0]), "a");
  assert.equal(others.all[0]?.redelivered, true);
  assert.match(warnings[0] ?? "", /cannot be returned/);
});

test("a publish that the file refuses is refused with the file's error, and the connection goes on", async (t) => {
  const { connect } = await bench(t);
  const { connection, file } = await connect();
  file.faults.push({ op: "publish", error: full, done: false, times: 1 });

  await assert.rejects(connection.publish(to, empty), { code: "ERR_STORE_FULL" });
  await connection.publish(to, empty);

  assert.equal(await connection.depth("q"), 1);
});

test("a publish whose answer was lost says so, and names the queue", async (t) => {
  const { connect } = await bench(t);
  const { connection, file } = await connect();
  file.faults.push({ op: "publish", error: lostAnswer, done: true, times: 1 });

  await assert.rejects(connection.publish(to, empty), { code: "ERR_OUTCOME_UNKNOWN", message: /queue "q"/ });

  assert.equal(await connection.depth("q"), 1);
});

test("a connection whose thread failed is lost, and what it held is delivered to others", async (t) => {
  const { connect, clock } = await bench(t);
  const { connection, file } = await connect(10);
  await publish(connection, ["a"]);
  const arrivals = new Arrivals();
  await connection.consume("q", arrivals.receive);
  const [held] = await arrivals.take(1);
  file.isLost = true;
  for (const op of ["publish", "settle", "leave", "claim", "look", "list"]) {
    file.faults.push({ op, error: new StoreUnavailableError("its thread failed"), done: false, times: 1_000 });
  }

  await assert.rejects(connection.publish(to, empty), { code: "ERR_STORE_UNAVAILABLE" });
  const reason = await connection.closed;
  await held?.ack();
  const { connection: next } = await connect(10);
  const again = new Arrivals();
  await next.consume("q", again.receive);
  while (again.all.length === 0) await clock.advance(100);

  assert.equal((reason as { code?: string }).code, "ERR_BROKER_UNAVAILABLE");
  assert.match(reason?.message ?? "", /its thread failed/);
  assert.equal(textOf(again.all[0]), "a");
  await assert.rejects(connection.depth("q"), { code: "ERR_BROKER_UNAVAILABLE" });
});

test("a consumer that waits learns within a second that its thread has failed", async (t) => {
  const { connect, clock } = await bench(t);
  const { connection, file } = await connect(10);
  await connection.consume("q", () => undefined);
  file.isLost = true;
  for (const op of ["look", "list"]) {
    file.faults.push({ op, error: new StoreUnavailableError("its thread failed"), done: false, times: 1_000 });
  }

  await clock.advance(1_000);
  const reason = await connection.closed;

  assert.equal((reason as { code?: string }).code, "ERR_BROKER_UNAVAILABLE");
});

test("a damaged file ends the connection: trying again would not help", async (t) => {
  const { connect } = await bench(t);
  const { connection, file } = await connect(10);
  file.faults.push({ op: "claim", error: new StoreCorruptError("broker.db is damaged"), done: false, times: 1 });

  await connection.consume("q", () => undefined);
  const reason = await connection.closed;

  assert.match(reason?.message ?? "", /is damaged/);
});

test("a change by another process that came while the window was full is not forgotten", async (t) => {
  const { connect, ops } = await bench(t);
  const { connection, file } = await connect(10);
  const arrivals = new Arrivals();
  await connection.consume("q", arrivals.receive);
  await publish(connection, ["a"]);
  const [first] = await arrivals.take(1);
  await connection.setPrefetch(1); // full, and the last claim found all there was

  await publishElsewhere(ops, "b");
  file.change();
  await first?.ack();
  const [second] = await arrivals.take(1);

  assert.equal(textOf(second), "b");
});

test("acknowledging on an empty queue asks for no further claim", async (t) => {
  const { connect } = await bench(t);
  const { connection, file } = await connect(10);
  const arrivals = new Arrivals();
  await publish(connection, numbered(8));
  await connection.consume("q", arrivals.receive);
  const held = await arrivals.take(8);
  const { connection: other } = await connect();
  await other.depth("q"); // all that was asked before has been answered
  const before = file.asked.filter((op) => op === "claim").length;

  for (const delivery of held) await delivery.ack();

  assert.equal(file.asked.filter((op) => op === "claim").length, before);
});
