/**
 * PostgreSQL for tests: the run's own database, in which each test uses a schema or a namespace of its own; and private servers, which a
 * test may stop, kill and start again.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import pg from "pg";
import { freePorts } from "../../scripts/services/ports.ts";
import { findBinaries, initFolder, probe, serverUser } from "../../scripts/services/postgres.ts";
import { missingVariable } from "../../scripts/services/service.ts";
import { atEnd } from "./cleanup.ts";
import { type Needed, skipOrFail } from "./needed.ts";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

const run = promisify(execFile);

/** PostgreSQL for tests; `LOVAGE_TEST_POSTGRES_URL` names another. */
export const POSTGRES_URL = process.env.LOVAGE_TEST_POSTGRES_URL ?? "postgres://postgres@127.0.0.1:5432/postgres";

/** @throws in CI, when nobody answers there */
export async function needPostgres(): Promise<Needed> {
  const missing = process.env[missingVariable("LOVAGE_TEST_POSTGRES_URL")];
  if (missing !== undefined) return skipOrFail(missing);
  const refusal = await probe(POSTGRES_URL);
  if (refusal === undefined) return { skip: false };
  return skipOrFail(`PostgreSQL does not answer: ${refusal}: install postgresql, or set LOVAGE_TEST_POSTGRES_URL`);
}

/** For tests that start servers of their own. @throws in CI, when there are no binaries */
export function needPostgresBinaries(): Needed {
  return findBinaries() === undefined
    ? skipOrFail("no initdb and pg_ctl of PostgreSQL 15 or newer: install postgresql")
    : { skip: false };
}

const DEADLOCK = "40P01";
const DROP_TRIES = 5;

/** The name of a schema that nobody else has. */
export function newSchema(): string {
  return `lovage_${process.pid}_${crypto.randomUUID().slice(0, 8)}`;
}

/** The URL with this schema, removed at the end of the test. */
export function ownSchema(t: TestContext, url = POSTGRES_URL): { readonly url: string; readonly schema: string } {
  const schema = newSchema();
  atEnd(t, () => dropSchema(schema, url));
  return { url: withSchema(url, schema), schema };
}

export function withSchema(url: string, schema: string): string {
  const changed = new URL(url);
  changed.searchParams.set("schema", schema);
  return changed.href;
}

/** Again when it meets a statement of a connection that was cut off, which the server has not given up yet. */
export async function dropSchema(schema: string, url = POSTGRES_URL): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await withClient(url, (client) => client.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`));
      return;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === DEADLOCK) || tries === DROP_TRIES) throw error;
    }
  }
}

/** A connection of the test's own. */
export async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connectPlain(url);
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** A URL that leads to the server of `url` through a proxy of its own, closed at the end of the test. */
export async function throughProxy(
  t: TestContext,
  url: string,
): Promise<{ readonly url: string; readonly proxy: TcpProxy }> {
  const changed = new URL(url);
  const proxy = await startTcpProxy({ host: changed.hostname, port: Number(changed.port || 5432) });
  atEnd(t, () => proxy.close());
  changed.hostname = "127.0.0.1";
  changed.port = String(proxy.port);
  return { url: changed.href, proxy };
}

/** A server of a test's own. */
export interface PostgresServer {
  readonly url: string;
  readonly port: number;
  start(): Promise<void>;
  /** "immediate": as a crash, without a word to its clients. */
  stop(mode: "fast" | "immediate"): Promise<void>;
}

/** @param settings lines of postgresql.conf */
export async function startPostgres(t: TestContext, settings: readonly string[] = []): Promise<PostgresServer> {
  const binaries = findBinaries();
  if (binaries === undefined) throw new Error("needPostgresBinaries() comes first");
  const [port] = (await freePorts(1)) as [number];
  const folder = await mkdtemp(join(tmpdir(), "lovage-postgres-"));
  const user = serverUser();
  const control = async (...args: string[]) => {
    const options = { ...(user ?? {}), cwd: folder, timeout: 60_000 };
    await run(join(binaries, "pg_ctl"), ["-D", join(folder, "data"), "-w", ...args], options);
  };
  const server: PostgresServer = {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    port,
    start: () => control("start", "-l", join(folder, "log")),
    stop: (mode) => control("stop", "-m", mode),
  };
  atEnd(t, async () => {
    await server.stop("immediate").catch(() => {}); // a test may have stopped it
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  await initFolder(binaries, folder, [`port = ${port}`, ...settings]);
  await server.start();
  return server;
}

/** What keeps every operation of a schema waiting, in the middle of its statement, until it is let go. */
export interface Hold {
  /** Resolves when `count` statements of the connections with this name wait. */
  waiting(applicationName: string, count?: number): Promise<void>;
  /** End the server's side of those that wait. */
  terminate(applicationName: string): Promise<void>;
  release(): Promise<void>;
}

/** @param tables of the schema; an operation waits at the first of them that it touches */
export async function holdTables(
  t: TestContext,
  url: string,
  schema: string,
  tables: readonly string[],
): Promise<Hold> {
  const [holder, watcher] = await Promise.all([connectPlain(url), connectPlain(url)]);
  let released = false;
  const release = async () => {
    if (released) return;
    released = true;
    await holder.query("ROLLBACK").catch(() => {});
    await Promise.all([holder.end(), watcher.end()]);
  };
  atEnd(t, release);
  await holder.query("BEGIN");
  const names = tables.map((table) => `"${schema}".${table}`).join(", ");
  await holder.query(`LOCK TABLE ${names} IN ACCESS EXCLUSIVE MODE`);
  return {
    async waiting(applicationName, count = 1) {
      for (let found = 0; found < count; ) {
        const { rows } = await watcher.query(
          "SELECT count(*)::integer AS n FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'",
          [applicationName],
        );
        found = Number(rows[0]?.n);
      }
    },
    async terminate(applicationName) {
      await watcher.query(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'",
        [applicationName],
      );
    },
    release,
  };
}

/** The URL, its connections known by this name. */
export function named(url: string, applicationName: string): string {
  const changed = new URL(url);
  changed.searchParams.set("application_name", applicationName);
  return changed.href;
}

export async function connectPlain(url: string): Promise<pg.Client> {
  const plain = new URL(url);
  plain.search = "";
  const client = new pg.Client({ connectionString: plain.href, connectionTimeoutMillis: 10_000 });
  client.on("error", () => {});
  await client.connect();
  return client;
}
