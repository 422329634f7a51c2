/** A worker's mailbox: each command is carried out and answered as such, and nothing that comes harms it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { BrokerConnection, HeardMessage, PublishTarget } from "../../../src/brokers/broker.ts";
import type { Queue } from "../../../src/brokers/topology.ts";
import { Mailbox } from "../../../src/control/mailbox.ts";
import type { WireMessage } from "../../../src/protocol/message.ts";
import { decodeReply, encodeCommand } from "../../../src/protocol/pidbox.ts";

const settings = {
  controlExchange: "celery",
  controlQueueTtlMs: 300_000,
  controlQueueExpiresMs: 10_000,
  controlQueueExclusive: false,
  controlQueueDurable: false,
};

async function open(fails = false) {
  const sent: { target: PublishTarget; message: WireMessage }[] = [];
  const logged: string[] = [];
  let queue: Queue | undefined;
  let hear: ((m: HeardMessage) => void) | undefined;
  const connection = {
    declareExchange: async () => undefined,
    subscribe: async (q: Queue, on: (m: HeardMessage) => void) => {
      queue = q;
      hear = on;
      return { others: 0, cancel: async () => undefined };
    },
    publish: async (target: PublishTarget, message: WireMessage) => {
      if (fails) throw new Error("gone");
      sent.push({ target, message });
    },
  } as unknown as BrokerConnection;
  const log = Object.fromEntries(
    ["debug", "info", "warn", "error"].map((l) => [l, (t: string) => logged.push(`${l} ${t}`)]),
  ) as never;
  const done: unknown[] = [];
  const box = new Mailbox({
    node: "celery@a",
    settings,
    log,
    commands: new Map<string, (g: Readonly<Record<string, unknown>>) => unknown>([
      ["ping", () => ({ ok: "pong" })],
      [
        "none",
        (g) => {
          done.push(g);
        },
      ],
      [
        "fails",
        () => {
          throw new RangeError("it's\nwrong");
        },
      ],
      [
        "later",
        async () => {
          throw "text";
        },
      ],
    ]),
  });
  await box.open(connection);
  const tell = async (message: WireMessage) => {
    hear?.({ message, exchange: "celery.pidbox", routingKey: "" });
    await new Promise((r) => setImmediate(r));
  };
  const cmd = (method: string, clock = 5, more = {}, reply = true) =>
    encodeCommand(
      { method, arguments: {}, ...more },
      {
        clock,
        expires: 0,
        ...(reply ? { replyTo: { exchange: "reply.celery.pidbox", routingKey: "oid", ticket: "T" } } : {}),
      },
    );
  return { sent, logged, tell, cmd, done, queue: () => queue };
}
const answers = (s: { message: WireMessage }[]) => s.map((e) => decodeReply(e.message));

test("replies, ticket, clock, queue", async () => {
  const b = await open();
  assert.equal(b.queue()?.name, "celery@a.celery.pidbox");
  assert.deepEqual(b.queue()?.arguments, { "x-message-ttl": 300_000, "x-expires": 10_000 });
  await b.tell(b.cmd("ping", 5));
  await b.tell(b.cmd("none", 1));
  await b.tell(b.cmd("dance"));
  await b.tell(b.cmd("fails"));
  await b.tell(b.cmd("later"));
  assert.deepEqual(
    answers(b.sent).map((e) => e.answers["celery@a"]),
    [
      { ok: "pong" },
      null,
      { error: "KeyError('dance')" },
      { error: "RangeError('it\\'s\\nwrong')" },
      { error: "Error('text')" },
    ],
  );
  assert.ok(answers(b.sent).every((e) => e.ticket === "T"));
  const clocks = b.sent.map((e) => Number(e.message.headers.clock));
  assert.ok(
    clocks.every((c, i) => c > (clocks[i - 1] ?? 5)),
    `${clocks}`,
  );
  assert.deepEqual(b.sent[0]?.target, {
    exchange: "reply.celery.pidbox",
    routingKey: "oid",
    exchangeType: "direct",
    unheard: true,
  });
});
test("no reply where none is asked, for others, for garbage; a lost reply harms nothing", async () => {
  const b = await open();
  await b.tell(b.cmd("none", 1, {}, false));
  assert.equal(b.done.length, 1);
  await b.tell(b.cmd("none", 1, { destination: ["celery@b"] }));
  await b.tell({ body: Buffer.from("\xff{"), properties: {}, headers: {} });
  await b.tell(b.cmd("__proto__"));
  await b.tell(b.cmd("constructor"));
  assert.equal(b.done.length, 1);
  assert.deepEqual(
    answers(b.sent).map((e) => e.answers["celery@a"]),
    [{ error: "KeyError('__proto__')" }, { error: "KeyError('constructor')" }],
  );
  const lost = await open(true);
  await lost.tell(lost.cmd("ping"));
  assert.match(lost.logged.join(), /could not be sent: gone/);
});
