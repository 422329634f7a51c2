/** The poison corpus on Redis. */
import { randomUUID } from "node:crypto";
import { describe } from "node:test";
import { Redis } from "ioredis";
import type { WireProperties } from "../../src/protocol/message.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { type PoisonSender, poisonSuite } from "./poison-suite.ts";

const { skip } = needRedisServer();

// A server of its own: the workers of others would give back what is too old in their eyes.
describe("poison on Redis", { skip }, () =>
  poisonSuite("redis", async (t) => {
    const { url } = await startRedis(t);
    return { url, connect: (queue) => openSender(url, queue) };
  }),
);

async function openSender(url: string, queue: string): Promise<PoisonSender> {
  const client = new Redis(url);
  return {
    async send({ message: { body, headers, properties }, raw }) {
      const item = raw === undefined ? envelope(queue, Buffer.from(body), headers, properties) : Buffer.from(raw);
      await client.lpush(queue, item);
    },
    async close() {
      await client.quit();
    },
  };
}

function envelope(queue: string, body: Buffer, headers: unknown, properties: WireProperties): string {
  return JSON.stringify({
    body: body.toString("base64"),
    "content-encoding": properties.contentEncoding,
    "content-type": properties.contentType,
    headers,
    properties: {
      correlation_id: properties.correlationId ?? randomUUID(),
      reply_to: properties.replyTo ?? "",
      delivery_mode: 2,
      delivery_info: { exchange: "", routing_key: queue },
      priority: properties.priority ?? 0,
      body_encoding: "base64",
      delivery_tag: randomUUID(),
      expiration: properties.expiration,
    },
  });
}
