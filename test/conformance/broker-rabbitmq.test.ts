import { describe } from "node:test";
import { openRabbitmqBroker } from "../../src/brokers/rabbitmq/broker.ts";
import { brokerConformance } from "../../src/testing/broker-conformance.ts";
import { deleteQueues, rabbitmqThroughProxy } from "../support/rabbitmq.ts";
import { needRabbitmq } from "../support/servers.ts";

describe("with RabbitMQ", await needRabbitmq(), () => {
  brokerConformance("rabbitmq", { fanout: true }, async () => {
    const { url, proxy } = await rabbitmqThroughProxy();
    const broker = await openRabbitmqBroker(url);
    return {
      broker,
      keepsPlace: false,
      sever: () => proxy.sever(),
      async close(queues) {
        await broker.close();
        await proxy.close();
        await deleteQueues(queues);
      },
    };
  });
});
