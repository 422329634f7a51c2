/** The interop matrix on Redis, a server of its own for each direction. */
import { describe } from "node:test";
import { needCelery } from "../support/python.ts";
import { needRedisServer, rawClient, startRedis } from "../support/redis.ts";
import { CELLS } from "./matrix-cells.ts";
import { DIRECTIONS, matrixSuite } from "./matrix-suite.ts";

const skip = (await needCelery()).skip || needRedisServer().skip;

describe("the matrix on Redis", { skip, timeout: 600_000 }, () =>
  matrixSuite({
    name: "redis",
    broker: "redis",
    cells: CELLS,
    directions: DIRECTIONS,
    async servers(t) {
      const { url } = await startRedis(t);
      const raw = rawClient(t, url);
      return {
        broker: `${url}/0`,
        backend: `${url}/1`,
        unacknowledged: () => raw.hlen("unacked"),
        // A list for each step of priorities.
        async waiting(queue) {
          const lengths = (await raw.keys(`${queue}*`)).map((list) => raw.llen(list));
          return (await Promise.all(lengths)).reduce((sum, length) => sum + length, 0);
        },
      };
    },
  }),
);
