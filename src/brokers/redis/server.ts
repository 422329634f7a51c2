/** What the server is, looked at after each connect: by then it may be another one, or another configuration. */
import { messageOf } from "../../kit/errors.ts";
import { ask, type Dialled, type DialOptions } from "../../redis/dial.ts";
import { replyCode } from "../../redis/failure.ts";
import { BrokerUnavailableError } from "../errors.ts";

export interface Server {
  /** 0 when it does not say. */
  readonly major: number;
  /** What the operator should know, once. */
  readonly warnings: readonly string[];
}

/** @throws {BrokerUnavailableError} it is a replica */
export async function inspect({ client, address }: Dialled, options: DialOptions): Promise<Server> {
  const { url } = options;
  let info: ReadonlyMap<string, string>;
  try {
    const text = String(await ask(options, address, client, "INFO"));
    info = new Map([...text.matchAll(/^([^:#\r\n]+):(.*?)\r?$/gm)].map(([, name = "", value = ""]) => [name, value]));
  } catch (error) {
    // Many hosted servers forbid it.
    const cause = error instanceof Error ? error.cause : undefined;
    if (replyCode(cause) !== "NOPERM" && !/unknown command/i.test(messageOf(cause))) throw error;
    const warning = `${url.shown} does not tell what it is (INFO is forbidden): whether it evicts messages is not known`;
    return { major: 0, warnings: [warning] };
  }
  if (info.get("role") === "slave") {
    throw new BrokerUnavailableError(
      `${url.shown} is a read-only replica: name its master, or the Sentinels that know it`,
    );
  }
  const warnings: string[] = [];
  const policy = info.get("maxmemory_policy") ?? "";
  if (policy.startsWith("allkeys-")) {
    warnings.push(
      `${url.shown} may throw out whole queues when memory is short (maxmemory-policy ${policy}): set maxmemory-policy noeviction`,
    );
  }
  return { major: Number.parseInt(info.get("redis_version") ?? "", 10) || 0, warnings };
}
