import { describe } from "node:test";
import { Redis } from "ioredis";
import { openRedisBroker } from "../../src/brokers/redis.ts";
import { brokerConformance } from "../../src/testing/broker-conformance.ts";
import { needRedis, REDIS_URL } from "../support/redis.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

describe("with Redis", await needRedis(), () => {
  brokerConformance("redis", { fanout: true }, async () => {
    const server = new URL(REDIS_URL);
    const proxy = await startTcpProxy({ host: server.hostname, port: Number(server.port || 6_379) });
    const url = new URL(REDIS_URL);
    url.hostname = "127.0.0.1";
    url.port = String(proxy.port);
    const prefix = `lovage-test-${crypto.randomUUID()}:`;
    const broker = await openRedisBroker(url.href, { transport: { global_keyprefix: prefix } });
    return {
      broker,
      keepsPlace: true,
      sever: () => proxy.sever(),
      async close() {
        await broker.close();
        await proxy.close();
        const client = new Redis(REDIS_URL);
        const keys = await client.keys(`${prefix}*`);
        if (keys.length > 0) await client.unlink(...keys);
        await client.quit();
      },
    };
  });
});
