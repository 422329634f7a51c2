/** The interop matrix on RabbitMQ, with results in Redis, and with results as messages (`rpc://`). */
import { describe, type TestContext } from "node:test";
import { connect } from "amqplib";
import { needCelery } from "../support/python.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { needVhosts, unacknowledgedIn, withVhost } from "../support/vhost.ts";
import { CELLS, RPC_CELLS } from "./matrix-cells.ts";
import { DIRECTIONS, type MatrixServers, matrixSuite } from "./matrix-suite.ts";

const skip = (await needVhosts()).skip || (await needCelery()).skip || needRedisServer().skip;

async function servers(t: TestContext, backend: string): Promise<MatrixServers> {
  const { name, url } = await withVhost(t);
  return {
    broker: url,
    backend,
    unacknowledged: (queue) => unacknowledgedIn(name, queue),
    async waiting(queue) {
      const connection = await connect(url);
      try {
        return (await (await connection.createChannel()).checkQueue(queue)).messageCount;
      } finally {
        await connection.close();
      }
    },
  };
}

describe("the matrix on RabbitMQ", { skip, timeout: 600_000 }, () => {
  matrixSuite({
    name: "rabbitmq",
    broker: "rabbitmq",
    cells: CELLS,
    directions: DIRECTIONS,
    servers: async (t) => servers(t, `${(await startRedis(t)).url}/1`),
  });

  matrixSuite({
    name: "rpc",
    broker: "rabbitmq",
    cells: RPC_CELLS,
    directions: DIRECTIONS.slice(0, 2),
    servers: (t) => servers(t, "rpc://"),
  });
});
