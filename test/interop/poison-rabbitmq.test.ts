/** The poison corpus on RabbitMQ. */
import { describe } from "node:test";
import { connect } from "amqplib";
import { amqplibUrl } from "../support/rabbitmq.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";
import { type PoisonSender, poisonSuite } from "./poison-suite.ts";

const { skip } = await needRabbitmq();

describe("poison on RabbitMQ", { skip }, () =>
  poisonSuite("rabbitmq", async () => ({ url: AMQP_URL, connect: openSender })),
);

async function openSender(queue: string): Promise<PoisonSender> {
  const connection = await connect(amqplibUrl());
  const channel = await connection.createConfirmChannel();
  return {
    async send({ message: { body, headers, properties } }) {
      const defined = Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
      channel.sendToQueue(queue, Buffer.from(body), { ...defined, headers });
      await channel.waitForConfirms();
    },
    close: () => connection.close(),
  };
}
