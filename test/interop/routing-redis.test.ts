/** Routing between Python and us on Redis. */
import { randomUUID } from "node:crypto";
import { describe } from "node:test";
import { atEnd } from "../support/cleanup.ts";
import { needCelery } from "../support/python.ts";
import { dropKeys, needRedis, REDIS_URL } from "../support/redis.ts";
import { routingSuite } from "./routing-suite.ts";

const redis = await needRedis();
const celery = await needCelery();

describe("routing on Redis", { skip: redis.skip || celery.skip }, () =>
  routingSuite({
    async open(t) {
      const prefix = `lovage-test-${randomUUID()}:`;
      atEnd(t, () => dropKeys(prefix));
      return { url: REDIS_URL, settings: { broker_transport_options: { global_keyprefix: prefix } } };
    },
    quorum: false,
    byPriority: [0, 3, 9],
  }),
);
