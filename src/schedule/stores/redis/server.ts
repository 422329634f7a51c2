/**
 * What the server is and what it keeps, looked at when the schedule is opened and after each reconnect: by then it may be another
 * one, or another configuration. (SEMANTICS G18)
 *
 * Evicting is refused even while `maxmemory` is 0: it is one CONFIG SET away from throwing out acknowledged callbacks, and nothing
 * would tell us. `appendfsync everysec` is no "process" level: while an fsync is under way Redis holds back its write for up to two
 * seconds, and answers meanwhile; a kill -9 then loses what was acknowledged. With `no` it writes before it answers.
 */
import type { Redis } from "ioredis";
import { StorePolicyError, StoreSchemaError } from "../../../kit/store-errors.ts";
import { ask, type DialOptions } from "../../../redis/dial.ts";
import { type Address, showAddress } from "../../../redis/url.ts";
import type { Durability } from "../../store.ts";

export interface Server {
  readonly durability: Durability;
  /** Why it is no more than that, or why we cannot tell; undefined when it is strict. */
  readonly remark: string | undefined;
  /** Another one after each start of the server. */
  readonly runId: string;
}

const LEAST_MAJOR = 7;

/**
 * @throws {StoreSchemaError} it is too old
 * @throws {StorePolicyError} it evicts, or is a replica
 */
export async function inspect(client: Redis, address: Address, options: DialOptions): Promise<Server> {
  const place = `Redis at ${showAddress(address)}`;
  const info = await textsOf(client, address, options, "INFO");
  const config = await configOf(client, address, options);
  const version = info?.get("redis_version") ?? "";
  const known = (name: string, infoName = name) => config?.get(name) ?? info?.get(infoName);
  if (version !== "" && Number.parseInt(version, 10) < LEAST_MAJOR) {
    throw new StoreSchemaError(`${place} is version ${version}: a schedule needs 7.0 or newer`);
  }
  if (info?.get("role") === "slave") {
    throw new StorePolicyError(`${place} is a read-only replica: name its master, or the Sentinels that know it`);
  }
  const policy = known("maxmemory-policy", "maxmemory_policy");
  if (policy !== undefined && policy !== "noeviction") {
    throw new StorePolicyError(
      `${place} may evict callbacks that it acknowledged (maxmemory-policy ${policy}): set maxmemory-policy noeviction, or use another server for the schedule`,
    );
  }
  const unknown = policy === undefined ? "it does not tell its maxmemory-policy (must be noeviction); " : "";
  const [durability, remark] = durabilityOf(info, config);
  return {
    durability,
    remark: unknown === "" ? remark : unknown + (remark ?? ""),
    runId: info?.get("run_id") ?? "",
  };
}

type Texts = ReadonlyMap<string, string>;

function durabilityOf(info: Texts | undefined, config: Texts | undefined): [Durability, string | undefined] {
  const fsync = config?.get("appendfsync");
  const isOn = (config?.get("appendonly") ?? (info?.get("aof_enabled") === "1" ? "yes" : "no")) === "yes";
  if (!isOn) return ["memory", "appendonly is not yes: what was acknowledged is lost when the server ends"];
  if (fsync === undefined) {
    return ["memory", "it does not tell its appendfsync (CONFIG GET is forbidden): only always is sure to keep all"];
  }
  if (fsync === "everysec") {
    return [
      "memory",
      "appendfsync is everysec: up to two seconds of acknowledged changes are lost when the server is killed; set it to always",
    ];
  }
  if (fsync !== "always") return ["process", `appendfsync is ${fsync}: power loss may cost acknowledged changes`];
  if (config?.get("no-appendfsync-on-rewrite") === "yes") {
    return ["process", "no-appendfsync-on-rewrite is yes: power loss during a rewrite may cost acknowledged changes"];
  }
  return ["strict", undefined];
}

/** `name:value` lines; undefined when we may not ask. */
async function textsOf(
  client: Redis,
  address: Address,
  options: DialOptions,
  command: string,
): Promise<Texts | undefined> {
  try {
    const text = String(await ask(options, address, client, command));
    return new Map([...text.matchAll(/^([^:#\r\n]+):(.*?)\r?$/gm)].map(([, name = "", value = ""]) => [name, value]));
  } catch (error) {
    if (isForbidden(error)) return undefined;
    throw error;
  }
}

/** The settings that matter; undefined when we may not ask, as with many hosted servers. */
async function configOf(client: Redis, address: Address, options: DialOptions): Promise<Texts | undefined> {
  const names = ["maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite"];
  try {
    const pairs = (await ask(options, address, client, "CONFIG", "GET", ...names)) as string[];
    const texts = new Map<string, string>();
    for (let i = 0; i + 1 < pairs.length; i += 2) texts.set(pairs[i] as string, pairs[i + 1] as string);
    return texts;
  } catch (error) {
    if (isForbidden(error)) return undefined;
    throw error;
  }
}

function isForbidden(error: unknown): boolean {
  const said = error instanceof Error && error.cause instanceof Error ? error.cause.message : "";
  return /^NOPERM|unknown command|unknown subcommand|wrong number of arguments/i.test(said);
}
