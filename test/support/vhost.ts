/**
 * A virtual host of RabbitMQ for one test: queues and connections that no other test has, so that a test may close
 * them all. Made by the node's own rabbitmqctl, which not everybody may use.
 */
import { existsSync } from "node:fs";
import type { TestContext } from "node:test";
import { addVhost, deleteVhost, type Rabbitmqctl, rabbitmqctl, urlOfVhost } from "../../scripts/services/vhost.ts";
import { atEnd } from "./cleanup.ts";
import { type Needed, skipOrFail } from "./needed.ts";
import { AMQP_URL, needRabbitmq } from "./servers.ts";

export interface Vhost {
  readonly url: string;
  readonly name: string;
  /** Close every connection to the vhost, as an operator does; their clients get 320 CONNECTION_FORCED. */
  closeAllConnections(): Promise<void>;
}

/** @throws in CI, when there is no RabbitMQ, or it is not ours to command */
export async function needVhosts(): Promise<Needed> {
  const { skip } = await needRabbitmq();
  if (skip !== false) return { skip };
  if (control() !== undefined) return { skip: false };
  return skipOrFail(
    "RabbitMQ is not ours to command (rabbitmqctl needs root): LOVAGE_TEST_PRIVATE=1 npm test starts one that is",
  );
}

/** Removed at the end of the test, with all that is in it. */
export async function withVhost(t: TestContext): Promise<Vhost> {
  const commands = control();
  if (commands === undefined) throw new Error("skip the test unless needVhosts() says that it can run");
  const name = `lovage-test-${crypto.randomUUID()}`;
  atEnd(t, () => deleteVhost(commands, name));
  await addVhost(commands, name, decodeURIComponent(new URL(AMQP_URL).username) || "guest");
  return {
    url: urlOfVhost(AMQP_URL, name),
    name,
    async closeAllConnections() {
      await rabbitmqctl(commands, "close_all_connections", "--vhost", name, "closed by a test");
    },
  };
}

function control(): Rabbitmqctl | undefined {
  const given = process.env.LOVAGE_TEST_RABBITMQCTL;
  if (given !== undefined) return JSON.parse(given) as Rabbitmqctl;
  // A test file run by hand, without npm test, on the machine's own node.
  const command = "/usr/sbin/rabbitmqctl";
  return process.getuid?.() === 0 && existsSync(command) ? { command, env: {} } : undefined;
}

/** Messages of the queue that somebody has in hand, as the queue counts them: it hears of an acknowledgement after the channel. About half a second. */
export async function unacknowledgedIn(vhost: string, queue: string): Promise<number> {
  const rows = await rowsOf("list_queues", vhost, "name", "messages_unacknowledged");
  return Number(rows.find(([name]) => name === queue)?.[1] ?? 0);
}

/**
 * The most messages that one channel of the vhost has in hand, as the channel itself counts them: what was sent to its client and is not
 * acknowledged. This is what the prefetch count bounds. About half a second.
 */
export async function mostUnacknowledgedOfAChannel(vhost: string): Promise<number> {
  const rows = await rowsOf("list_channels", vhost, "messages_unacknowledged", "vhost");
  return Math.max(0, ...rows.flatMap(([count, of]) => (of === vhost ? [Number(count)] : [])));
}

async function rowsOf(what: "list_queues" | "list_channels", vhost: string, ...columns: string[]): Promise<string[][]> {
  const commands = control();
  if (commands === undefined) throw new Error("skip the test unless needVhosts() says that it can run");
  // Channels are listed of all vhosts.
  const of = what === "list_queues" ? ["-p", vhost] : [];
  const listed = await rabbitmqctl(commands, what, ...of, "--no-table-headers", ...columns);
  return listed.split("\n").map((line) => line.split("\t"));
}
