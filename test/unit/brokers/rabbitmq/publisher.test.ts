/** The publisher against a channel that the test plays: what a real RabbitMQ does only when it is full or dying. */
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import type { Channel, ConfirmChannel } from "amqplib";
import { Line, type LineModel } from "../../../../src/brokers/rabbitmq/line.ts";
import { Publisher } from "../../../../src/brokers/rabbitmq/publisher.ts";
import { createLogger } from "../../../../src/kit/log.ts";
import { FakeClock } from "../../../../src/testing/fake-clock.ts";

interface Sent {
  readonly exchange: string;
  readonly routingKey: string;
  readonly body: string;
  readonly confirm: (error: Error | null) => void;
}

/** Takes messages as long as there is room, and confirms when told to. */
class PlayedChannel extends EventEmitter {
  readonly sent: Sent[] = [];
  room = true;

  publish(exchange: string, routingKey: string, content: Buffer, _options: object, confirm: Sent["confirm"]): boolean {
    this.sent.push({ exchange, routingKey, body: content.toString(), confirm });
    return this.room;
  }
}

class PlayedModel extends EventEmitter {
  readonly channel = new PlayedChannel();
  asked = 0;

  async createConfirmChannel(): Promise<ConfirmChannel> {
    this.asked += 1;
    return this.channel as unknown as ConfirmChannel;
  }

  createChannel(): Promise<Channel> {
    throw new Error("not asked for here");
  }

  async close(): Promise<void> {}
}

function setup() {
  const model = new PlayedModel();
  const clock = new FakeClock();
  const logged: string[] = [];
  const log = createLogger({ destination: (line) => logged.push(line) });
  const line = new Line(model as unknown as LineModel, {
    url: "amqp://guest:**@played:5672//",
    clock,
    log,
    answerMs: 30_000,
    destroy: () => undefined,
  });
  const publisher = new Publisher(line);
  const publish = (body: string, queue = "q", correlationId = body) =>
    publisher.publish(
      { exchange: "", routingKey: queue },
      { body: Buffer.from(body), properties: { correlationId }, headers: {} },
    );
  const bodies = () => model.channel.sent.map((each) => each.body);
  return { model, channel: model.channel, clock, line, publisher, publish, bodies, logged };
}

/** Until the channel is open and what can be sent is. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test("messages asked for at once share one channel and keep their order", async () => {
  const { model, publish, channel, bodies } = setup();

  const all = Promise.all(["a", "b", "c"].map((each) => publish(each)));
  await turn();
  for (const each of [...channel.sent].reverse()) each.confirm(null);
  await all;

  assert.equal(model.asked, 1);
  assert.deepEqual(bodies(), ["a", "b", "c"]);
});

test("a full buffer is waited for", async () => {
  const { publish, channel, bodies } = setup();
  channel.room = false;
  const all = Promise.all(["a", "b", "c"].map((each) => publish(each)));
  await turn();

  assert.deepEqual(bodies(), ["a"]);
  channel.emit("drain");
  assert.deepEqual(bodies(), ["a", "b"]);
  channel.room = true;
  channel.emit("drain");
  assert.deepEqual(bodies(), ["a", "b", "c"]);

  for (const each of channel.sent) each.confirm(null);
  await all;
});

test("while RabbitMQ is blocked messages wait, the log says so, and they go when it is not any more", async () => {
  const { model, publish, channel, bodies, logged } = setup();
  model.emit("blocked", "low on memory");
  const sent = publish("a");
  await turn();

  assert.deepEqual(bodies(), []);
  assert.match(logged.join("\n"), /WARNING.*low on memory.*publishing waits/);
  model.emit("unblocked");
  assert.deepEqual(bodies(), ["a"]);

  channel.sent[0]?.confirm(null);
  await sent;
});

test("a message that waited too long for a blocked RabbitMQ is refused, and the connection lives", async () => {
  const { model, publish, clock, line, bodies, channel } = setup();
  const before = publish("sent before");
  await turn();
  model.emit("blocked", "low on memory");
  const during = publish("asked for while blocked");
  const refused = Promise.all([
    assert.rejects(before, { code: "ERR_OUTCOME_UNKNOWN", key: "sent before" }),
    assert.rejects(during, { code: "ERR_BROKER_UNAVAILABLE", message: /took no message within 30 s.*low on memory/ }),
  ]);

  await clock.advance(30_001);
  await refused;

  assert.equal(line.ended, undefined);
  channel.sent[0]?.confirm(null);
  model.emit("unblocked");
  const after = publish("after");
  await turn();
  assert.deepEqual(bodies(), ["sent before", "after"], "what was refused is not sent later");
  channel.sent[1]?.confirm(null);
  await after;
  line.end(new Error("closed"));
  assert.equal(clock.pending, 0, "nothing is left that ticks");
});

test("a confirm that does not come in time ends the connection, and every message under way is unknown", async () => {
  const { publish, clock, line } = setup();
  const first = publish("a");
  await clock.advance(29_000);
  const second = publish("b");
  const unknown = Promise.all([
    assert.rejects(first, { code: "ERR_OUTCOME_UNKNOWN" }),
    assert.rejects(second, { code: "ERR_OUTCOME_UNKNOWN" }),
  ]);

  await clock.advance(1_001);

  await unknown;
  assert.match(line.ended?.message ?? "", /not confirmed within 30 s/);
});

test("a returned message is refused as unroutable, and only that one", async () => {
  const { publish, channel } = setup();
  const sent = [publish("a"), publish("b", "none"), publish("b", "none", "another id"), publish("c", "none")];
  const ends = Promise.allSettled(sent);
  await turn();
  const back = (content: string, correlationId: string) =>
    channel.emit("return", {
      content: Buffer.from(content),
      fields: { exchange: "", routingKey: "none" },
      properties: { correlationId },
    });

  back("b", "another id");
  back("c", "c");
  for (const each of channel.sent) each.confirm(null);

  assert.deepEqual(
    (await ends).map((each) => (each.status === "fulfilled" ? "taken" : each.reason.code)),
    ["taken", "taken", "ERR_UNROUTABLE", "ERR_UNROUTABLE"],
  );
});

test("a refusal by RabbitMQ and a confirm that comes twice end one message once", async () => {
  const { publish, channel } = setup();
  const refused = assert.rejects(publish("a"), { code: "ERR_BROKER_UNAVAILABLE", message: /refused/ });
  await turn();

  channel.sent[0]?.confirm(new Error("message nacked"));
  channel.sent[0]?.confirm(null);

  await refused;
});

test("settled waits for what is under way, and for what waits to be sent", async () => {
  const { publish, publisher, channel } = setup();
  await publisher.settled();
  channel.room = false;
  const sent = [publish("a"), publish("b")];
  await turn();
  let settled = false;
  const done = publisher.settled().then(() => {
    settled = true;
  });

  channel.sent[0]?.confirm(null);
  await turn();
  assert.equal(settled, false);
  channel.emit("drain");
  channel.sent[1]?.confirm(null);

  await done;
  await Promise.all(sent);
});

test("a line that ends ends what was sent as unknown, and what was not as unavailable", async () => {
  const { model, publish, channel } = setup();
  channel.room = false;
  const sent = publish("sent");
  const waiting = publish("waiting");
  const ends = Promise.allSettled([sent, waiting]);
  await turn();

  model.emit("error", new Error("read ECONNRESET"));
  model.emit("close", new Error("read ECONNRESET"));

  const codes = (await ends).map((each) => (each.status === "fulfilled" ? "taken" : each.reason.code));
  assert.deepEqual(codes, ["ERR_OUTCOME_UNKNOWN", "ERR_BROKER_UNAVAILABLE"]);
  await assert.rejects(publish("late"), { code: "ERR_BROKER_UNAVAILABLE", message: /ECONNRESET/ });
});
