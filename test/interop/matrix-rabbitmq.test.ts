/** The interop matrix on RabbitMQ, with results in Redis. */
import { describe } from "node:test";
import { needCelery } from "../support/python.ts";
import { deleteQueues } from "../support/rabbitmq.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";
import { matrixSuite } from "./matrix-suite.ts";

const skip = (await needRabbitmq()).skip || (await needCelery()).skip || needRedisServer().skip;

describe("the matrix on RabbitMQ", { skip, timeout: 600_000 }, () =>
  matrixSuite("rabbitmq", async (t) => {
    const { url } = await startRedis(t);
    return { broker: AMQP_URL, backend: `${url}/1`, drop: (queue) => deleteQueues([queue]) };
  }),
);
