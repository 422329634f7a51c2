/** Node names on RabbitMQ, where a mailbox is a queue: a name that somebody has already is told of, and the worker serves all the same. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connect } from "amqplib";
import { atEnd } from "../support/cleanup.ts";
import { interop } from "../support/interop.ts";
import { amqplibUrl } from "../support/rabbitmq.ts";
import { needRabbitmq } from "../support/servers.ts";

const { skip } = await needRabbitmq();

describe("a node name", { skip, timeout: 120_000 }, () => {
  test("that another worker has shares its mailbox, which is told", async (t) => {
    const world = await interop(t);
    const node = `twice-${world.queue}@here`;
    const first = await world.worker({}, "-n", node);
    const second = await world.worker({}, "-n", node);
    const warning = /A node named "twice-.*@here" is already using this process mailbox.*-n NAME@%h/;
    await second.waitForLine(warning);
    assert.ok(!first.lines.some((line) => warning.test(line)));
  });

  test("that somebody keeps for itself leaves the worker without commands, and with its queue", async (t) => {
    const world = await interop(t);
    const node = `taken-${world.queue}@here`;
    const other = await connect(amqplibUrl());
    atEnd(t, () => other.close());
    // As Celery declares one where control_queue_exclusive is set.
    await (await other.createChannel()).assertQueue(`${node}.celery.pidbox`, { exclusive: true, durable: false });

    const worker = await world.worker({}, "-n", node);
    await worker.waitForLine(/No control commands are heard: the node name "taken-.*" is taken .*-n NAME@%h/);
    assert.deepEqual(await world.call(world.client(), "demo.foo", "served"), { word: "served", times: 1 });
  });

  test("is by default not that of Celery on the same machine", async (t) => {
    const world = await interop(t);
    const worker = await world.worker();
    assert.ok(
      worker.lines.some((line) => / lovage@\S+ ready\.$/.test(line)),
      worker.text,
    );
  });
});
