/** What tests against a real Redis need: namespaces of their own, private servers to be killed and restarted, a way to cut the line. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { freePorts } from "../../scripts/services/ports.ts";
import { findRedisServer, probeRedis, TEST_NAMESPACE } from "../../scripts/services/redis.ts";
import { missingVariable } from "../../scripts/services/service.ts";
import { atEnd } from "./cleanup.ts";
import { type Needed, skipOrFail } from "./needed.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
import { tempDir } from "./temp.ts";

/** Redis for tests; `LOVAGE_TEST_REDIS_URL` names another. */
export const REDIS_URL = process.env.LOVAGE_TEST_REDIS_URL ?? "redis://127.0.0.1:6379";
const READY_MS = 20_000;

/** @throws in CI, when no usable one answers there */
export async function needRedis(): Promise<Needed> {
  const missing = process.env[missingVariable("LOVAGE_TEST_REDIS_URL")];
  if (missing !== undefined) return skipOrFail(missing);
  const refusal = await probeRedis(REDIS_URL);
  if (refusal === undefined) return { skip: false };
  return skipOrFail(`Redis is not to be used: ${refusal}: install redis-server, or set LOVAGE_TEST_REDIS_URL`);
}

/** For tests that start servers of their own. @throws in CI, when there is no redis-server */
export function needRedisServer(): Needed {
  const missing = process.env[missingVariable("LOVAGE_TEST_REDIS_URL")];
  if (missing !== undefined) return skipOrFail(missing);
  return findRedisServer() === undefined ? skipOrFail("no redis-server: install it") : { skip: false };
}

/** A namespace that nobody else has. */
export function testNamespace(): string {
  return `${TEST_NAMESPACE}${crypto.randomUUID()}`;
}

/** All keys of all namespaces that begin so. */
export async function dropNamespaces(beginning: string, url = REDIS_URL): Promise<void> {
  await dropKeys(`{lovage:${beginning}`, url);
}

/** Redis, through a line that a test can cut. */
export async function redisThroughProxy(): Promise<{ readonly url: string; readonly proxy: TcpProxy }> {
  const url = new URL(REDIS_URL);
  const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || 6379) });
  url.hostname = "127.0.0.1";
  url.port = String(proxy.port);
  return { url: url.href, proxy };
}

/** All keys that begin so. */
export async function dropKeys(beginning: string, url = REDIS_URL): Promise<void> {
  const client = new Redis(url);
  for await (const keys of client.scanStream({ match: `${beginning}*`, count: 1_000 })) {
    if ((keys as string[]).length > 0) await client.unlink(...(keys as string[]));
  }
  await client.quit();
}

/** A client beside ours, closed at the end of the test. */
export function rawClient(t: TestContext, url: string): Redis {
  const client = new Redis(url, { maxRetriesPerRequest: 2 });
  client.on("error", () => undefined);
  atEnd(t, () => client.disconnect());
  return client;
}

export interface PrivateRedis {
  readonly port: number;
  readonly url: string;
  readonly folder: string;
  readonly pid: number;
  /** As an operator does; resolves when it has ended. */
  stop(): Promise<void>;
  kill9(): Promise<void>;
  /** After one of these: the same data, the same port. @param config lines added to its configuration */
  start(...config: readonly string[]): Promise<void>;
}

/** A server of the test's own, with these lines of configuration. Ended with the test. */
export async function startRedis(t: TestContext, ...config: readonly string[]): Promise<PrivateRedis> {
  const [port] = (await freePorts(1)) as [number];
  const folder = join(await tempDir(t), `redis-${port}`);
  mkdirSync(folder);
  const data = isSentinel(config) ? [] : ['save ""', "appendonly no"];
  writeFileSync(
    join(folder, "redis.conf"),
    [`port ${port}`, "bind 127.0.0.1", `dir ${folder}`, ...data, ...config, ""].join("\n"),
  );
  const server = new Server(port, folder, passwordOf(config));
  await server.start();
  atEnd(t, () => server.kill9());
  return server;
}

class Server implements PrivateRedis {
  readonly port: number;
  readonly url: string;
  readonly folder: string;
  readonly #probe: string;
  #child: ChildProcess | undefined;

  constructor(port: number, folder: string, password: string) {
    this.port = port;
    this.folder = folder;
    this.url = `redis://127.0.0.1:${port}`;
    this.#probe = `redis://${password === "" ? "" : `:${password}@`}127.0.0.1:${port}`;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error("it does not run");
    return this.#child.pid;
  }

  async start(...config: readonly string[]): Promise<void> {
    const file = join(this.folder, "redis.conf");
    appendFileSync(file, config.map((line) => `${line}\n`).join(""));
    const log = openSync(join(this.folder, "redis.log"), "a");
    const mode = isSentinel([readFileSync(file, "utf8")]) ? ["--sentinel"] : [];
    const child = spawn(findRedisServer() ?? "redis-server", [file, ...mode], {
      stdio: ["ignore", log, log],
    });
    this.#child = child;
    const deadline = performance.now() + READY_MS;
    while (!(await answers(this.#probe))) {
      if (child.exitCode !== null || performance.now() > deadline) {
        const said = existsSync(join(this.folder, "redis.log"))
          ? readFileSync(join(this.folder, "redis.log"), "utf8").slice(-2_000)
          : "";
        throw new Error(`redis-server did not start:\n${said}`);
      }
      await sleep(20);
    }
  }

  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  async kill9(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    // One that was stopped takes no other signal.
    child.kill("SIGCONT");
    await ended;
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null, disableClientInfo: true });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.ping();
    return true;
  } catch {
    return false;
  } finally {
    client.disconnect();
  }
}

function isSentinel(config: readonly string[]): boolean {
  return config.some((line) => line.includes("sentinel monitor"));
}

function passwordOf(config: readonly string[]): string {
  return config.map((line) => /^requirepass (\S+)/.exec(line)?.[1]).find((word) => word !== undefined) ?? "";
}

/** A URL that leads to the server through a proxy of its own. */
export async function throughProxy(
  t: TestContext,
  to: string,
): Promise<{ readonly url: string; readonly proxy: TcpProxy }> {
  const url = new URL(to);
  const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || 6379) });
  atEnd(t, () => proxy.close());
  url.hostname = "127.0.0.1";
  url.port = String(proxy.port);
  return { url: url.href, proxy };
}
