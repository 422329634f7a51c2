/** Ten messages that cannot be run, among good ones: each stands in quarantine, and nothing else happens. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { connect } from "amqplib";
import { interop } from "../support/interop.ts";
import { amqplibUrl } from "../support/rabbitmq.ts";
import { needRabbitmq } from "../support/servers.ts";

const { skip } = await needRabbitmq();

interface Bad {
  readonly code: string;
  readonly body: Buffer;
  readonly contentType?: string | undefined;
  readonly headers?: Record<string, unknown>;
}

const EMBED = { callbacks: null, errbacks: null, chain: null, chord: null };
const v2 = (body: unknown): Buffer => Buffer.from(JSON.stringify(body));
const headers = (more: Record<string, unknown> = {}) => ({ task: "demo.foo", id: randomUUID(), ...more });

/** PROTOCOL 5.3 and 5.4; the first two end a Celery worker. */
const BAD: readonly Bad[] = [
  { code: "ERR_NO_ID", headers: { task: "demo.foo" }, body: v2([["x"], {}, EMBED]) },
  { code: "ERR_BODY_SHAPE", headers: headers(), body: v2([["x"], {}]) },
  { code: "ERR_UNKNOWN_TASK", headers: headers({ task: "nobody.knows" }), body: v2([[], {}, EMBED]) },
  {
    code: "ERR_CONTENT_TYPE",
    headers: headers(),
    contentType: "application/x-python-serialize",
    body: Buffer.from([0x80, 0x04, 0x4e, 0x2e]),
  },
  { code: "ERR_DECODE", headers: headers(), body: Buffer.from("{not json") },
  { code: "ERR_ETA", headers: headers({ eta: "the day after tomorrow" }), body: v2([["x"], {}, EMBED]) },
  { code: "ERR_PROTO", body: Buffer.from('{"hello": "world"}') },
  { code: "ERR_PROTO", body: Buffer.alloc(0) },
  { code: "ERR_DECODE", headers: headers(), body: Buffer.from([0x5b, 0xff, 0xfe, 0x5d]) },
  { code: "ERR_COMPRESSION", headers: headers({ compression: "application/x-lzw" }), body: v2([["x"], {}, EMBED]) },
];

describe("messages that cannot be run", { skip }, () => {
  test("every good one between them runs, the worker lives, and each bad one stands in quarantine", async (t) => {
    const world = await interop(t);
    const worker = await world.worker();
    const client = world.client();

    const connection = await connect(amqplibUrl());
    const channel = await connection.createConfirmChannel();
    const good: string[] = [];
    for (const [i, bad] of [...BAD, undefined].entries()) {
      const id = randomUUID();
      good.push(id);
      channel.sendToQueue(world.queue, v2([[`good ${i}`], {}, EMBED]), {
        contentType: "application/json",
        contentEncoding: "utf-8",
        headers: { task: "demo.foo", id },
      });
      if (bad === undefined) continue;
      channel.sendToQueue(world.queue, bad.body, {
        contentType: bad.contentType ?? "application/json",
        contentEncoding: bad.contentType === undefined ? "utf-8" : "binary",
        headers: bad.headers ?? {},
      });
    }
    await channel.waitForConfirms();
    await connection.close();

    for (const id of good) await client.result(id).get({ timeout: 60 });
    const quarantine = await client.backends.quarantine();
    while ((await quarantine.count()) < BAD.length) await wait(20);
    const kept = (await quarantine.list({ limit: 100 })).toReversed();

    assert.deepEqual(kept.map(({ code }) => code).sort(), BAD.map(({ code }) => code).sort());
    for (const bad of BAD) {
      const record = kept.find((each) => each.code === bad.code && Buffer.from(each.body).equals(bad.body));
      assert.ok(record, `${bad.code} with its raw bytes`);
      assert.ok(record.reason.length > 10, `${bad.code}: ${record.reason}`);
      assert.equal(record.queue, world.queue);
    }
    assert.equal(world.ledger.count("foo"), good.length);

    const listed = await world.cli("quarantine", "list");
    for (const { code } of BAD) assert.ok(listed.stdout.includes(code), `${code} in:\n${listed.stdout}`);
    const pickled = kept.find(({ code }) => code === "ERR_CONTENT_TYPE");
    const shown = JSON.parse((await world.cli("quarantine", "show", pickled?.id ?? "", "--json")).stdout);
    assert.deepEqual(Buffer.from(shown.body, "base64"), BAD[3]?.body);
    assert.equal(shown.properties.contentType, "application/x-python-serialize");

    assert.deepEqual(await worker.stop(), { status: 0, signal: null });
  });
});
