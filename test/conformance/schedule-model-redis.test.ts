import { after, describe } from "node:test";
import { openRedisSchedule } from "../../src/schedule/stores/redis.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { dropNamespaces, needRedis, REDIS_URL, testNamespace } from "../support/redis.ts";
import { modelTest } from "./schedule-model-test.ts";
import { MODEL_LIMITS } from "./schedule-side-by-side.ts";

const { skip } = await needRedis();

describe("with Redis", { skip }, () => {
  const run = testNamespace();
  let lives = 0;
  after(() => dropNamespaces(run));

  modelTest(
    "redis",
    async () => {
      const clock = new FakeClock();
      const namespace = `${run}-${lives++}`;
      const open = () => openRedisSchedule(REDIS_URL, { namespace, clock, limits: MODEL_LIMITS });
      let store = await open();
      const reopen = async () => {
        await store.close();
        store = await open();
        return store;
      };
      return { store, clock, reopen, close: () => store.close() };
    },
    100,
  );
});
