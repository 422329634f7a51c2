import { randomUUID } from "node:crypto";
import { describe } from "node:test";
import { Redis } from "ioredis";
import { openRedisResults } from "../../src/results/redis.ts";
import { resultBackendConformance } from "../../src/testing/result-backend-conformance.ts";
import { needRedis, REDIS_URL } from "../support/redis.ts";

const { skip } = await needRedis();

/** The server's clock cannot be moved: what is kept is brought so much nearer to its end. */
async function age(client: Redis, prefix: string, ms: number): Promise<void> {
  for await (const keys of client.scanStream({ match: `${prefix}*`, count: 1_000 })) {
    for (const key of keys as string[]) {
      const leftMs = await client.pttl(key);
      if (leftMs > ms) await client.pexpire(key, leftMs - ms);
      else if (leftMs >= 0) await client.del(key);
    }
  }
}

async function dropAll(client: Redis, prefix: string): Promise<void> {
  for await (const keys of client.scanStream({ match: `${prefix}*`, count: 1_000 })) {
    if ((keys as string[]).length > 0) await client.unlink(...(keys as string[]));
  }
}

describe("Redis", { skip }, () => {
  resultBackendConformance("redis", async () => {
    const prefix = `lovage-test-${randomUUID()}`;
    const open = () => openRedisResults(REDIS_URL, { transport: { global_keyprefix: prefix } });
    const backend = await open();
    const client = new Redis(REDIS_URL);
    return {
      backend,
      again: open,
      pass: (ms) => age(client, prefix, ms),
      sweeps: false,
      close: async () => {
        await backend.close();
        await dropAll(client, prefix);
        await client.quit();
      },
    };
  });
});
