/**
 * Redis: the one on the default port, if a schedule may be kept there, else a private server: an own process on a free port of the
 * loopback interface, with its data in a temporary folder, beside whatever other server the machine runs.
 */
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { installDebian, mayInstall } from "./debian.ts";
import { keep } from "./kept.ts";
import { freePorts } from "./ports.ts";
import { type Ensured, found, type Missing, type Service } from "./service.ts";

const DEFAULT_URL = "redis://127.0.0.1:6379";
/** Of the namespaces that tests make. */
export const TEST_NAMESPACE = "test-";
const READY_MS = 20_000;
const LEAST_MAJOR = 7;
const REMEDY = 'install it ("sudo apt-get install redis-server"), or name one by LOVAGE_TEST_REDIS_URL';

export const redis: Service = {
  name: "Redis",
  variable: "LOVAGE_TEST_REDIS_URL",

  async ensure() {
    const named = process.env.LOVAGE_TEST_REDIS_URL;
    if (named !== undefined && named !== "") {
      const refusal = await probeRedis(named);
      return refusal === undefined
        ? withLeftovers(found(named, "named by LOVAGE_TEST_REDIS_URL", binaryVariable()))
        : { missing: `Redis: LOVAGE_TEST_REDIS_URL names a server that tests cannot use: ${refusal}` };
    }
    const refusal = process.env.LOVAGE_TEST_PRIVATE === "1" ? "a private one is wanted" : await probeRedis(DEFAULT_URL);
    let binary = findRedisServer();
    // Some tests start servers of their own.
    if (binary === undefined && mayInstall()) {
      const problem = await installDebian(["redis-server"]);
      binary = findRedisServer();
      if (binary === undefined) return { missing: `Redis: could not be installed: ${problem ?? "no binary"}` };
    }
    if (refusal === undefined) return withLeftovers(found(DEFAULT_URL, "found on the default port", binaryVariable()));
    if (binary === undefined) {
      return { missing: `Redis: none on 127.0.0.1:6379 (${refusal}) and no redis-server here: ${REMEDY}` };
    }
    return startPrivate(binary);
  },
};

/** Why tests cannot use it, or undefined: they can. */
export async function probeRedis(url: string): Promise<string | undefined> {
  const client = clientOf(url);
  let problem: Error | undefined;
  client.on("error", (error) => {
    problem ??= error;
  });
  try {
    await client.connect();
    const info = await client.info();
    const version = /redis_version:(\S+)/.exec(info)?.[1] ?? "0";
    const policy = /maxmemory_policy:(\S+)/.exec(info)?.[1] ?? "noeviction";
    if (Number.parseInt(version, 10) < LEAST_MAJOR) return `it is version ${version}, and 7 is needed`;
    return policy === "noeviction" ? undefined : `it evicts (maxmemory-policy ${policy})`;
  } catch (error) {
    const { code, message } = (problem ?? error) as NodeJS.ErrnoException;
    return message || code || String(error);
  } finally {
    client.disconnect();
  }
}

export function findRedisServer(): string | undefined {
  const named = process.env.LOVAGE_TEST_REDIS_SERVER;
  if (named !== undefined && named !== "") return named;
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
  return folders.map((folder) => join(folder, "redis-server")).find((path) => existsSync(path));
}

function binaryVariable(): Record<string, string> | undefined {
  const binary = findRedisServer();
  return binary === undefined ? undefined : { LOVAGE_TEST_REDIS_SERVER: binary };
}

/** Other programs may use the server as well: only namespaces of tests count, and those that were not there before. */
async function withLeftovers(ensured: Ensured): Promise<Ensured> {
  const before = await testNamespaces(ensured.url);
  return {
    ...ensured,
    leftovers: async () =>
      [...(await testNamespaces(ensured.url))].filter((name) => !before.has(name)).map((name) => `namespace ${name}`),
  };
}

async function testNamespaces(url: string): Promise<Set<string>> {
  const client = clientOf(url);
  const names = new Set<string>();
  try {
    await client.connect();
    for await (const keys of client.scanStream({ match: `{lovage:${TEST_NAMESPACE}*`, count: 1_000 })) {
      for (const key of keys as string[]) names.add(/^\{lovage:([^}]*)\}/.exec(key)?.[1] ?? key);
    }
  } finally {
    client.disconnect();
  }
  return names;
}

function clientOf(url: string): Redis {
  return new Redis(url, {
    lazyConnect: true,
    retryStrategy: () => null,
    connectTimeout: 5_000,
    disableClientInfo: true,
  });
}

async function startPrivate(binary: string): Promise<Ensured | Missing> {
  const began = performance.now();
  const [port] = (await freePorts(1)) as [number];
  const folder = mkdtempSync(join(tmpdir(), "lovage-redis-"));
  const log = join(folder, "redis.log");
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder];
  const kept = keep({ folder, commands: [{ command: binary, args, env: { ...process.env }, cwd: folder, log }] });
  const url = `redis://127.0.0.1:${port}`;
  const refusal = await ready(url, kept.ended);
  if (refusal !== undefined) {
    const said = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").slice(-8).join("\n  ") : "";
    await kept.stop();
    return { missing: `Redis: a private server did not start: ${refusal}\n  ${said}` };
  }
  return {
    ...(await withLeftovers(found(url, "", { LOVAGE_TEST_REDIS_SERVER: binary }))),
    started: true,
    note: `started privately in ${((performance.now() - began) / 1000).toFixed(1)} s`,
    stop: kept.stop,
  };
}

/** Undefined when the server answers; else why it never will. */
async function ready(url: string, ended: Promise<string>): Promise<string | undefined> {
  let death: string | undefined;
  void ended.then((how) => {
    death = how;
  });
  const deadline = performance.now() + READY_MS;
  for (;;) {
    const refusal = await probeRedis(url);
    if (refusal === undefined) return undefined;
    if (death !== undefined) return death;
    if (performance.now() > deadline) return refusal;
    await sleep(50);
  }
}
