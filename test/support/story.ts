/** What the stories share: a world on either broker, with a server that nobody else has where the broker allows it. */
import { join } from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "./cleanup.ts";
import { type Interop, interop } from "./interop.ts";
import type { Needed } from "./needed.ts";
import { needRedisServer, startRedis } from "./redis.ts";
import { AMQP_URL } from "./servers.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { needVhosts, withVhost } from "./vhost.ts";

const APP = join(import.meta.dirname, "apps/story-app.ts");
/** What a dead worker had in hand on Redis is given back after so long, seconds; RabbitMQ needs no such time. */
export const VISIBILITY_TIMEOUT = 2;

export interface StoryBroker {
  readonly name: "RabbitMQ" | "Redis";
  readonly needed: Needed;
  /** Settings by which a worker finds out soon what it must find out. */
  readonly env: Readonly<Record<string, string>>;
  open(t: TestContext, concurrency?: number): Promise<Interop>;
}

export const STORY_BROKERS: readonly StoryBroker[] = [
  {
    name: "RabbitMQ",
    needed: await needVhosts(),
    env: { LOVAGE_BROKER_HEARTBEAT: "2" },
    open: async (t, concurrency = 2) =>
      interop(t, { app: APP, concurrency, broker: { url: (await withVhost(t)).url } }),
  },
  {
    name: "Redis",
    needed: needRedisServer(),
    env: {
      LOVAGE_BROKER_TRANSPORT_OPTIONS: JSON.stringify({
        visibility_timeout: VISIBILITY_TIMEOUT,
        unacked_restore_interval: 0.2,
        socket_timeout: 2,
        health_check_interval: 2,
      }),
    },
    open: async (t, concurrency = 2) =>
      interop(t, { app: APP, concurrency, broker: { url: `${(await startRedis(t)).url}/0` } }),
  },
];

/** The world's broker through a line that can be cut: for its workers. Its clients go past it. */
export async function lineTo(
  t: TestContext,
  world: Interop,
): Promise<{ readonly url: string; readonly proxy: TcpProxy }> {
  const url = new URL(world.brokerUrl);
  const port = Number(url.port) || Number(new URL(AMQP_URL).port) || 5_672;
  const proxy = await startTcpProxy({ host: url.hostname, port });
  atEnd(t, () => proxy.close());
  url.hostname = "127.0.0.1";
  url.port = String(proxy.port);
  return { url: url.href, proxy };
}

/** Messages that wait in the world's queue. */
export async function waiting(world: Interop): Promise<number> {
  return (await (await world.client().producer.connection()).depth(world.queue)) ?? 0;
}
