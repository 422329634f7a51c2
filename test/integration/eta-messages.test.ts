/** Story M1, the small form of `npm run eta`: messages that wait for an hour hold no more than the window, and each is taken over once. */
import { describe, test } from "node:test";
import { checkEta, runEta } from "../eta/run.ts";
import { needRedisServer } from "../support/redis.ts";
import { needVhosts } from "../support/vhost.ts";

const MESSAGES = 2_000;

describe("M1: eta messages", { concurrency: true }, async () => {
  test("on Redis", { ...needRedisServer(), timeout: 180_000 }, async (t) =>
    checkEta(await runEta(t, { broker: "redis", messages: MESSAGES, warmUp: 100 })),
  );
  test("on RabbitMQ", { ...(await needVhosts()), timeout: 180_000 }, async (t) =>
    checkEta(await runEta(t, { broker: "rabbitmq", messages: MESSAGES, warmUp: 100 })),
  );
});
