import { after, describe } from "node:test";
import { openRedisSchedule } from "../../src/schedule/stores/redis.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { scheduleStoreConformance } from "../../src/testing/schedule-store-conformance.ts";
import { dropNamespaces, needRedis, REDIS_URL, testNamespace } from "../support/redis.ts";

const { skip } = await needRedis();

describe("with Redis", { skip }, () => {
  /** One server for all, each test in a namespace of its own: what one does, another must not see. */
  const run = testNamespace();
  let tests = 0;
  after(() => dropNamespaces(run));

  scheduleStoreConformance("redis", async (options = {}) => {
    const clock = new FakeClock();
    const namespace = `${run}-${tests++}`;
    const open = () => openRedisSchedule(REDIS_URL, { namespace, clock, ...options });
    const store = await open();
    const others: Awaited<ReturnType<typeof open>>[] = [];
    const other = async () => {
      const opened = await open();
      others.push(opened);
      return opened;
    };
    return {
      store,
      clock,
      other,
      close: async () => void (await Promise.all([store, ...others].map((each) => each.close()))),
    };
  });
});
