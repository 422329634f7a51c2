/**
 * PostgreSQL 15 or newer: the one on the default port, in a database of the run's own, else a private server. A private server is an own
 * process on a free port of the loopback interface, with its data in a temporary folder; it does not run as root, so root runs it as the
 * system's user `postgres` (or `nobody`).
 */
import { execFile } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { installDebian, mayInstall } from "./debian.ts";
import { keep } from "./kept.ts";
import { freePorts } from "./ports.ts";
import { type Ensured, found, inCi, type Missing, type Service } from "./service.ts";

const run = promisify(execFile);

/** Databases of runs on a server that was found: the prefix, then the pid of the run. */
const DATABASE_PREFIX = "lovage_run_";
const LEAST_VERSION = 150_000;
const READY_MS = 60_000;
const REMEDY = 'install it ("sudo apt-get install postgresql"), or name one by LOVAGE_TEST_POSTGRES_URL';

export const postgres: Service = {
  name: "PostgreSQL",
  variable: "LOVAGE_TEST_POSTGRES_URL",

  async ensure() {
    const named = process.env.LOVAGE_TEST_POSTGRES_URL;
    if (named !== undefined && named !== "") {
      const refusal = await probe(named);
      return refusal === undefined
        ? found(named, "named by LOVAGE_TEST_POSTGRES_URL", binariesEnv())
        : { missing: `PostgreSQL: LOVAGE_TEST_POSTGRES_URL names a server that does not answer: ${refusal}` };
    }

    let refusal = "a private one is wanted";
    if (process.env.LOVAGE_TEST_PRIVATE !== "1") {
      const running = await findRunning();
      // Some tests start servers of their own: in CI nothing may be skipped, so without the binaries they are installed below.
      if (typeof running !== "string" && (findBinaries() !== undefined || !inCi())) return useFound(running);
      refusal = typeof running === "string" ? running : "its binaries are not on this machine";
    }
    if (findBinaries() === undefined && mayInstall()) {
      const problem = await installDebian(["postgresql"]);
      if (findBinaries() === undefined) {
        return { missing: `PostgreSQL: could not be installed: ${problem ?? "no binary of 15 or newer"}` };
      }
    }
    const binaries = findBinaries();
    if (binaries === undefined) {
      return {
        missing: `PostgreSQL: none on 127.0.0.1:5432 (${refusal}) and no binaries of 15 or newer here: ${REMEDY}`,
      };
    }
    return startPrivate(binaries);
  },
};

/** Why nobody can use the server there, or undefined: it is ready. */
export async function probe(url: string): Promise<string | undefined> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    const { rows } = await client.query("SELECT current_setting('server_version_num')::integer AS version");
    const version = Number(rows[0]?.version);
    return version >= LEAST_VERSION ? undefined : `it is of version ${version}: 15 or newer is needed`;
  } catch (error) {
    const one = error instanceof AggregateError ? error.errors[0] : error;
    return (one as Error).message || String((one as NodeJS.ErrnoException).code ?? one);
  } finally {
    await client.end().catch(() => {});
  }
}

/** The folder of initdb and pg_ctl, of 15 or newer. */
export function findBinaries(): string | undefined {
  const named = process.env.LOVAGE_TEST_POSTGRES_BIN;
  if (named !== undefined && named !== "") return named;
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).filter((name) => Number(name) >= 15) : [];
  const folders = versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(debian, version, "bin"));
  folders.push(
    ...(process.env.PATH ?? "").split(delimiter),
    "/opt/homebrew/bin",
    "/usr/pgsql-17/bin",
    "/usr/pgsql-16/bin",
    "/usr/pgsql-15/bin",
  );
  return folders.find(
    (folder) => folder !== "" && existsSync(join(folder, "initdb")) && existsSync(join(folder, "pg_ctl")),
  );
}

/** What tests need to start servers of their own. */
function binariesEnv(): Record<string, string> {
  const binaries = findBinaries();
  return binaries === undefined ? {} : { LOVAGE_TEST_POSTGRES_BIN: binaries };
}

/** PostgreSQL does not run as root: whom it runs as. Undefined: as ourselves. */
export function serverUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = readFileSync("/etc/passwd", "utf8");
  for (const name of ["postgres", "nobody"]) {
    const [, uid, gid] = new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, "m").exec(passwd) ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error("neither postgres nor nobody is a user of this machine: PostgreSQL does not run as root");
}

/** A new data folder for `initdb`, owned by whom the server runs as. */
export async function initFolder(binaries: string, folder: string, settings: readonly string[]): Promise<void> {
  const user = serverUser();
  chmodSync(folder, 0o700);
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  const as = user === undefined ? {} : { uid: user.uid, gid: user.gid };
  const args = [
    "-D",
    join(folder, "data"),
    "-U",
    "postgres",
    "-A",
    "trust",
    "-E",
    "UTF8",
    "--locale=C.UTF-8",
    "--no-sync",
    "--no-instructions",
  ];
  await run(join(binaries, "initdb"), args, {
    ...as,
    cwd: folder,
    env: { ...process.env, HOME: folder },
    timeout: 120_000,
  });
  const conf = [
    "listen_addresses = '127.0.0.1'",
    `unix_socket_directories = '${folder}'`,
    "shared_buffers = '32MB'",
    ...settings,
  ];
  await run("/bin/sh", ["-c", 'printf "%s\\n" "$@" >> data/postgresql.conf', "sh", ...conf], { ...as, cwd: folder });
}

/** Where a server on the default port lets us in, as ourselves or as its own administrator; else why not. */
async function findRunning(): Promise<{ readonly url: string } | string> {
  let refusal = "";
  for (const user of new Set([userInfo().username, "postgres"])) {
    const url = `postgres://${encodeURIComponent(user)}@127.0.0.1:5432/postgres`;
    const why = await probe(url);
    if (why === undefined) return { url };
    refusal ||= why;
  }
  return refusal;
}

/** In a database of the run's own, so that nothing of it can be left behind. */
async function useFound({ url }: { readonly url: string }): Promise<Ensured> {
  const database = `${DATABASE_PREFIX}${process.pid}`;
  const own = new URL(url);
  own.pathname = `/${database}`;
  try {
    await command(url, async (client) => {
      const { rows } = await client.query<{ datname: string }>("SELECT datname FROM pg_database");
      for (const { datname } of rows)
        if (isStale(datname)) await client.query(`DROP DATABASE IF EXISTS "${datname}" WITH (FORCE)`);
      await client.query(`CREATE DATABASE "${database}" ENCODING 'UTF8' TEMPLATE template0`);
    });
  } catch (error) {
    return found(url, `found on the default port; no database of its own: ${(error as Error).message}`, binariesEnv());
  }
  return {
    url: own.href,
    env: binariesEnv(),
    started: false,
    note: `found on the default port, database ${database}`,
    stop: () =>
      command(url, async (client) => void (await client.query(`DROP DATABASE IF EXISTS "${database}" WITH (FORCE)`))),
  };
}

async function command(url: string, use: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on("error", () => {});
  await client.connect();
  try {
    await use(client);
  } finally {
    await client.end();
  }
}

/** A database of a run that was killed before it could remove it. */
function isStale(database: string): boolean {
  const pid = database.startsWith(DATABASE_PREFIX) ? Number(database.slice(DATABASE_PREFIX.length)) : Number.NaN;
  if (!Number.isInteger(pid)) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

async function startPrivate(binaries: string): Promise<Ensured | Missing> {
  const began = performance.now();
  const [port] = (await freePorts(1)) as [number];
  const folder = mkdtempSync(join(tmpdir(), "lovage-postgres-"));
  const log = join(folder, "postgres.log");
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  let stop: () => Promise<void> = async () => {};
  try {
    await initFolder(binaries, folder, [`port = ${port}`]);
    const kept = keep({ folder, commands: [serverCommand(binaries, folder, log)] });
    stop = kept.stop;
    const refusal = await ready(url, kept.ended);
    if (refusal !== undefined) throw new Error(refusal);
  } catch (error) {
    const said = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").slice(-12).join("\n  ") : "";
    await stop();
    return { missing: `PostgreSQL: a private server did not start: ${(error as Error).message}\n  ${said}` };
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  return { url, env: binariesEnv(), started: true, note: `started privately in ${seconds} s`, stop };
}

/** The server itself, in the foreground; root hands it over to its user. TERM waits for its clients, so INT is what its parent should send. */
function serverCommand(binaries: string, folder: string, log: string) {
  const user = serverUser();
  const server = [join(binaries, "postgres"), "-D", join(folder, "data")];
  const [command = "", ...args] =
    user === undefined
      ? server
      : ["setpriv", `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups", ...server];
  return { command, args, env: { PATH: process.env.PATH, LANG: "C.UTF-8" }, cwd: folder, log };
}

/** Undefined when the server answers; else why it never will. */
async function ready(url: string, ended: Promise<string>): Promise<string | undefined> {
  let death: string | undefined;
  void ended.then((how) => {
    death = how;
  });
  const deadline = performance.now() + READY_MS;
  for (;;) {
    const refusal = await probe(url);
    if (refusal === undefined) return undefined;
    if (death !== undefined) return death;
    if (performance.now() > deadline) return refusal;
    await sleep(100);
  }
}
