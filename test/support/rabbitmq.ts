/** What tests against a real RabbitMQ need besides our own client: a way to cut it off, and to clean up behind us. */
import type { TestContext } from "node:test";
import { connect } from "amqplib";
import { findBinaries, startPrivate } from "../../scripts/services/rabbitmq.ts";
import { atEnd } from "./cleanup.ts";
import { type Needed, skipOrFail } from "./needed.ts";
import { AMQP_URL } from "./servers.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

/** A URL that leads to the test's RabbitMQ through a proxy of its own. */
export async function rabbitmqThroughProxy(): Promise<{ readonly url: string; readonly proxy: TcpProxy }> {
  const url = new URL(AMQP_URL);
  const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || 5672) });
  url.hostname = "127.0.0.1";
  url.port = String(proxy.port);
  return { url: url.href, proxy };
}

/** Queues, and the exchanges that are declared with them. */
export async function deleteQueues(queues: readonly string[]): Promise<void> {
  const connection = await connect(amqplibUrl());
  const channel = await connection.createChannel();
  for (const queue of queues) {
    await channel.deleteQueue(queue);
    await channel.deleteExchange(queue);
  }
  await channel.close();
  await connection.close();
}

/** amqplib reads `//` as the virtual host "/" only when it is percent-encoded. */
export function amqplibUrl(): string {
  return AMQP_URL.replace(/\/\/$/, "/%2F");
}

/** For tests that start a node of their own. @throws in CI, when there is no rabbitmq-server */
export function needRabbitmqServer(): Needed {
  return findBinaries() === undefined ? skipOrFail("no rabbitmq-server: install it") : { skip: false };
}

/** A node of the test's own (some 10 s), with these settings of its Erlang application, numbers or Erlang terms; answers its URL. Ended with the test. */
export async function startRabbitmq(
  t: TestContext,
  settings: Readonly<Record<string, number | string>>,
): Promise<string> {
  const terms = Object.entries(settings).map(([name, value]) => `{${name}, ${value}}`);
  const node = await startPrivate(findBinaries() ?? "", `[{rabbit, [${terms.join(", ")}]}].\n`);
  if ("missing" in node) throw new Error(node.missing);
  atEnd(t, () => node.stop());
  return node.url;
}
