/** The interop matrix on Redis, a server of the test's own. */
import { describe } from "node:test";
import { needCelery } from "../support/python.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { matrixSuite } from "./matrix-suite.ts";

const skip = (await needCelery()).skip || needRedisServer().skip;

describe("the matrix on Redis", { skip, timeout: 600_000 }, () =>
  matrixSuite("redis", async (t) => {
    const { url } = await startRedis(t);
    return { broker: `${url}/0`, backend: `${url}/1`, drop: async () => undefined };
  }),
);
