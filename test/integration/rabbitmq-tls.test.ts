/** `amqps`: RabbitMQ's own TLS listener, its certificate checked. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { freePorts } from "../../scripts/services/ports.ts";
import { interop } from "../support/interop.ts";
import { needRabbitmqServer, startRabbitmq } from "../support/rabbitmq.ts";
import { fixturePath } from "../unit/protocol/fixtures.ts";

const { skip } = needRabbitmqServer();
const PEM = fixturePath("tls-localhost.pem");

describe("RabbitMQ over TLS", { skip, timeout: 120_000 }, () => {
  test("serves a worker and a client that trust its certificate, and nobody else", async (t) => {
    const [port = 0] = await freePorts(1);
    const pem = JSON.stringify(PEM);
    await startRabbitmq(t, {
      ssl_listeners: `[{"127.0.0.1", ${port}}]`,
      ssl_options: `[{cacertfile, ${pem}}, {certfile, ${pem}}, {keyfile, ${pem}}, {verify, verify_none}]`,
    });
    const url = (host: string) => `amqps://guest:guest@${host}:${port}//`;
    const trusting = { LOVAGE_BROKER_USE_SSL: JSON.stringify({ ca: readFileSync(PEM, "utf8") }) };
    const world = await interop(t, { broker: { url: url("localhost") } });

    await world.worker(trusting);
    const client = world.client(trusting);
    assert.deepEqual(await world.call(client, "demo.foo", "over TLS"), { word: "over TLS", times: 1 });

    const send = (env: Record<string, string>) =>
      world
        .client({ LOVAGE_TASK_PUBLISH_RETRY: "false", ...env })
        .signature("demo.foo", { args: ["no"] })
        .delay();
    await assert.rejects(send({}), { code: "ERR_BROKER_UNAVAILABLE", message: /self-signed certificate/ });
    const plain = { LOVAGE_BROKER_URL: `amqp://guest:guest@localhost:${port}//` };
    await assert.rejects(send(plain), { code: "ERR_BROKER_UNAVAILABLE" });
    assert.equal(world.ledger.count("foo", "no"), 0);
  });
});
