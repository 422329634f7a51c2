/**
 * One connection to the server that is meant: found by the Sentinels or the Cluster where the URL names such, with user,
 * password and database set.
 *
 * ioredis is used for one server and one socket. It is told to queue nothing, to repeat nothing and to reconnect never: a change
 * whose answer was lost must not be sent again behind our back, and its client for Clusters does just that. A schedule's namespace
 * lives in one slot of a Cluster, so the one node that has it is all we need.
 */
import { isIP } from "node:net";
import type { ConnectionOptions } from "node:tls";
import type { Redis, RedisOptions } from "ioredis";
import type { Clock } from "../kit/clock.ts";
import { withDeadline } from "../kit/deadline.ts";
import { LovageError, MissingPeerError } from "../kit/errors.ts";
import { StorePolicyError, StoreUnavailableError } from "../kit/store-errors.ts";
import { connectFailure, withoutCommand } from "./failure.ts";
import { type Address, type RedisUrl, showAddress } from "./url.ts";

export interface DialOptions {
  readonly url: RedisUrl;
  /** What it is for, for the error that says that ioredis is missing: "a schedule in Redis". */
  readonly what: string;
  /** Shown in the server's list of connections. */
  readonly name: string;
  /** A key of what is kept there: it says which node of a Cluster. */
  readonly key?: string;
  /** What Node's `tls.connect` is given, besides the server's name. */
  readonly tls?: ConnectionOptions;
  readonly clock: Clock;
  /** How long the server may take to let us in, and to answer each question, ms. */
  readonly connectMs: number;
}

export interface Dialled {
  readonly client: Redis;
  readonly address: Address;
}

/** @throws {StoreUnavailableError} {StorePolicyError} one line that says which server, and why not */
export async function dial(options: DialOptions): Promise<Dialled> {
  const { url } = options;
  if (url.kind === "single") return connect(options, firstOf(url.addresses));
  return url.kind === "sentinel" ? dialMaster(options) : dialNode(options);
}

/** End the connection without a word. Commands under way are rejected. */
export function hangUp(client: Redis): void {
  client.removeAllListeners();
  // An error without a listener would be printed.
  client.on("error", () => undefined);
  client.disconnect();
}

/** The first Sentinel that knows the master says where it is. */
async function dialMaster(options: DialOptions): Promise<Dialled> {
  const { url } = options;
  const problems: unknown[] = [];
  const login = { username: url.sentinelUsername, password: url.sentinelPassword, database: 0 };
  for (const sentinel of url.addresses) {
    try {
      const { client } = await connect(options, sentinel, login);
      const found = await ask(options, sentinel, client, "SENTINEL", "get-master-addr-by-name", url.master).finally(
        () => hangUp(client),
      );
      if (Array.isArray(found)) return await connect(options, { host: String(found[0]), port: Number(found[1]) });
      problems.push(
        new StorePolicyError(`the Sentinel at ${showAddress(sentinel)} knows no master ${JSON.stringify(url.master)}`),
      );
    } catch (error) {
      problems.push(error);
    }
  }
  throw several(problems);
}

/** The first node that answers says which of them has the namespace's slot. */
async function dialNode(options: DialOptions): Promise<Dialled> {
  const problems: unknown[] = [];
  for (const seed of options.url.addresses) {
    try {
      const dialled = await connect(options, seed);
      const { client } = dialled;
      const answer = await ask(options, seed, client, "EXISTS", options.key ?? "").catch((error: unknown) => {
        const [, host = "", port = ""] = /MOVED \d+ (.*):(\d+)\b/.exec((error as Error).message) ?? [];
        hangUp(client);
        if (port === "") throw error;
        return { host: host || seed.host, port: Number(port) };
      });
      return typeof answer === "object" && answer !== null ? await connect(options, answer as Address) : dialled;
    } catch (error) {
      problems.push(error);
    }
  }
  throw several(problems);
}

/** Of several that failed: the first, which tells the most that one line can. */
function several(problems: readonly unknown[]): unknown {
  const [first, ...rest] = problems;
  if (!(first instanceof LovageError) || rest.length === 0) return first;
  const others = `; so do ${rest.length} other addresses`;
  return first instanceof StorePolicyError
    ? new StorePolicyError(first.message + others, { cause: new AggregateError(problems) })
    : new StoreUnavailableError(first.message + others, { cause: new AggregateError(problems) });
}

interface Login {
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly database: number;
}

async function connect(options: DialOptions, address: Address, login: Login = options.url): Promise<Dialled> {
  const { url, clock, connectMs } = options;
  const Client = await clientClass(options.what);
  const client = new Client(clientOptions(address, options));
  let problem: Error | undefined;
  // ioredis tells "closed" to whoever waits, and the reason only here.
  client.on("error", (error) => {
    problem ??= error;
  });
  try {
    await withDeadline(client.connect(), connectMs, clock, `the connection to ${showAddress(address)}`);
    if (login.password !== undefined) {
      const { username, password } = login;
      await ask(options, address, client, "AUTH", ...(username === undefined ? [password] : [username, password]));
    }
    if (login.database !== 0) await ask(options, address, client, "SELECT", login.database);
    return { client, address };
  } catch (error) {
    hangUp(client);
    if (error instanceof LovageError && problem === undefined && !isTimeout(error)) throw error;
    throw connectFailure(withoutCommand(problem ?? error), address, url);
  }
}

/** One question on a connection that is being opened. @throws {StoreUnavailableError} {StorePolicyError} */
export async function ask(
  { url, clock, connectMs }: DialOptions,
  address: Address,
  client: Redis,
  command: string,
  ...args: (string | number)[]
): Promise<unknown> {
  try {
    return await withDeadline(client.call(command, args), connectMs, clock, `the answer to ${command}`);
  } catch (thrown) {
    const error = withoutCommand(thrown);
    if (error instanceof Error && /^MOVED /.test(error.message)) throw error;
    throw connectFailure(error, address, url);
  }
}

function isTimeout(error: LovageError): boolean {
  return error.code === "ERR_TIMEOUT";
}

async function clientClass(what: string): Promise<typeof Redis> {
  try {
    return (await import("ioredis")).Redis;
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new MissingPeerError("ioredis", what, { cause: error });
  }
}

function clientOptions(address: Address, options: DialOptions): Omit<RedisOptions, "replyMapping"> {
  const { url, connectMs, name, tls } = options;
  return {
    ...address,
    // An address is no server's name.
    ...(url.tls ? { tls: { ...(isIP(address.host) === 0 ? { servername: address.host } : {}), ...tls } } : {}),
    lazyConnect: true,
    connectTimeout: connectMs,
    protocol: 2,
    retryStrategy: () => null,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableReadyCheck: false,
    disableClientInfo: true,
    connectionName: name,
    keepAlive: 10_000,
    noDelay: true,
    // How long a silent peer is waited for after our end of the connection was closed.
    disconnectTimeout: 100,
  };
}

function firstOf(addresses: readonly Address[]): Address {
  return addresses[0] ?? { host: "localhost", port: 6_379 };
}
