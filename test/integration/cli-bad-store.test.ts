/**
 * A schedule that cannot be used: the command line, a worker and the API say which, why, and what to do, in one line; what lies there is
 * left as it is. Each for real. (What a store says of every fault stands in its own tests.)
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, type TestContext, test } from "node:test";
import { Lovage, LovageError } from "lovage";
import { freePorts } from "../../scripts/services/ports.ts";
import { mountSmallDisk, whyNoSmallDisk } from "../crash/small-disk.ts";
import { atEnd } from "../support/cleanup.ts";
import { skipOrFail } from "../support/needed.ts";
import { needPostgres, ownSchema, POSTGRES_URL, withClient } from "../support/postgres.ts";
import { runCli } from "../support/processes.ts";
import {
  dropNamespaces,
  needRedis,
  needRedisServer,
  REDIS_URL,
  rawClient,
  startRedis,
  testNamespace,
} from "../support/redis.ts";
import { tempDir } from "../support/temp.ts";

const noDisk = whyNoSmallDisk();
const DISK = noDisk === undefined ? { skip: false } : skipOrFail(noDisk);
const APP = join(import.meta.dirname, "../support/apps/fleet-app.ts");

interface Refusal {
  readonly code: string;
  readonly says: RegExp;
  /** Exit status: 2 where the command was wrong, 1 where something else is. Default 1. */
  readonly status?: 1 | 2;
  readonly namespace?: string;
}

/** The same refusal by a command, by a worker, and by the API. */
async function refused(t: TestContext, url: string, { code, says, status = 1, namespace }: Refusal): Promise<void> {
  const cwd = await tempDir(t);
  const env = {
    LOVAGE_BROKER_URL: `sqlite:${join(cwd, "broker.db")}`,
    LOVAGE_SCHEDULE_URL: url,
    LOVAGE_NAMESPACE: namespace ?? "lovage",
  };
  const commands = [
    ["schedule", "list"],
    ["-A", APP, "worker", "-c", "1"],
  ];
  const use = async () => {
    await using app = new Lovage("bad", {}, { env });
    await app.schedule.callAfter(60, app.signature("x"));
  };
  const [rejected, ...all] = await Promise.all([
    use().catch((error: unknown) => error),
    ...commands.map((args) => runCli(t, args, { cwd, env })),
  ]);
  for (const ended of all) {
    assert.match(ended.stderr, says);
    assert.equal(ended.stderr.split("\n").length, 1, `one line: ${ended.stderr}`);
    assert.equal(ended.status, status, ended.stderr);
    assert.equal(ended.stdout, "");
    assert.doesNotMatch(ended.stderr, /s3cret/, "no password");
  }
  assert.ok(rejected instanceof LovageError, String(rejected));
  assert.equal(rejected.code, code);
  assert.match(rejected.message, says);
  assert.doesNotMatch(rejected.message, /s3cret/);
}

describe("a schedule of no known kind", () => {
  test("is refused before anything is opened", (t) =>
    refused(t, "mysql://u:s3cret@127.0.0.1/db", {
      code: "ERR_INVALID_CONFIG",
      status: 2,
      says: /LOVAGE_SCHEDULE_URL must be a URL that begins with sqlite:.*redis:.*postgres:.*not mysql:/,
    }));
});

describe("a schedule in Redis", needRedisServer(), () => {
  test("where nobody listens", async (t) => {
    const [port] = (await freePorts(1)) as [number];
    const says = new RegExp(`Redis at 127\\.0\\.0\\.1:${port}: nothing listens there: check`);
    await refused(t, `redis://u:s3cret@127.0.0.1:${port}/0`, { code: "ERR_STORE_UNAVAILABLE", says });
  });

  test("with a wrong password, and with none", async (t) => {
    const { port } = await startRedis(t, "requirepass opensesame");
    const wrong = { code: "ERR_STORE_POLICY", says: /user or password is wrong/ };
    await refused(t, `redis://:s3cret@127.0.0.1:${port}/0`, wrong);
    await refused(t, `redis://127.0.0.1:${port}/0`, { ...wrong, says: /asks for a password.*put it into the URL/ });
  });

  test("that evicts", async (t) => {
    const { url } = await startRedis(t, "maxmemory-policy allkeys-lru");
    await refused(t, url, { code: "ERR_STORE_POLICY", says: /may evict.*set maxmemory-policy noeviction/ });
  });
});

describe("a schedule in Redis or PostgreSQL", { skip: (await needRedis()).skip || (await needPostgres()).skip }, () => {
  test("made by a newer Lovage, which is left as it is", async (t) => {
    const namespace = testNamespace();
    atEnd(t, () => dropNamespaces(namespace));
    const redis = rawClient(t, REDIS_URL);
    await redis.set(`{lovage:${namespace}}:schema`, "9");
    await refused(t, REDIS_URL, { code: "ERR_STORE_SCHEMA", says: /newer Lovage.*upgrade this one/, namespace });
    assert.equal(await redis.get(`{lovage:${namespace}}:schema`), "9");

    const { url, schema } = ownSchema(t);
    await withClient(url, async (client) => {
      await client.query(`CREATE SCHEMA "${schema}"; CREATE TABLE "${schema}".migrations (version integer)`);
      await client.query(`INSERT INTO "${schema}".migrations VALUES (99)`);
    });
    await refused(t, url, { code: "ERR_STORE_SCHEMA", says: /newer Lovage/ });
  });

  test("whose host is the other kind of server", async (t) => {
    const [redis, postgres] = [new URL(REDIS_URL), new URL(POSTGRES_URL)];
    const code = "ERR_STORE_UNAVAILABLE";
    await Promise.all([
      refused(t, `redis://${postgres.hostname}:${postgres.port || 5432}/0`, {
        code,
        says: /does not (answer as Redis does|speak Redis' protocol)/,
      }),
      refused(t, `postgres://u:s3cret@${redis.hostname}:${redis.port || 6379}/db`, {
        code,
        says: /does not answer as PostgreSQL does/,
      }),
    ]);
  });

  test("in a database, or as a user, that PostgreSQL does not know", async (t) => {
    const at = (parts: Partial<Record<"pathname" | "username", string>>) =>
      Object.assign(new URL(POSTGRES_URL), { password: "s3cret", ...parts }).href;
    await refused(t, at({ pathname: "/no-such-db" }), { code: "ERR_STORE_PATH", says: /no such database.*create it/ });
    await refused(t, at({ username: "nobody-here" }), { code: "ERR_STORE_PATH", says: /"nobody-here"/ });
  });

  test("where no PostgreSQL listens", async (t) => {
    const [port] = (await freePorts(1)) as [number];
    const says = new RegExp(`nothing listens on 127\\.0\\.0\\.1:${port}`);
    await refused(t, `postgres://u:s3cret@127.0.0.1:${port}/db`, { code: "ERR_STORE_UNAVAILABLE", says });
  });
});

describe("a schedule in a file", () => {
  test("that is no database, or a newer Lovage's: it is left as it is", async (t) => {
    const folder = await tempDir(t);
    const text = join(folder, "notes.txt");
    await writeFile(text, "Dear diary, ".repeat(1_000));
    await refused(t, `sqlite:${text}`, { code: "ERR_STORE_CORRUPT", says: /notes\.txt/ });
    assert.equal(await readFile(text, "utf8"), "Dear diary, ".repeat(1_000));

    const newer = join(folder, "newer.db");
    await useFile(newer, async (app) => void (await app.schedule.callAfter(60, app.signature("x"))));
    const database = new DatabaseSync(newer);
    database.exec("UPDATE lovage_schema SET version = version + 90 WHERE name = 'schedule'");
    database.close();
    await refused(t, `sqlite:${newer}`, { code: "ERR_STORE_SCHEMA", says: /newer\.db.*newer Lovage/ });
  });

  test("that may not be written, with or without its directory, or whose directory there is not", async (t) => {
    const folder = await tempDir(t);
    const file = join(folder, "kept/ro.db");
    await mkdir(join(folder, "kept"));
    await useFile(file, async (app) => void (await app.schedule.callAfter(60, app.signature("x"))));
    const says = /ro\.db.*read-only/;
    if (process.getuid?.() !== 0) {
      await chmod(file, 0o400);
      await refused(t, `sqlite:${file}`, { code: "ERR_STORE_PATH", says });
      await chmod(file, 0o600);
      await chmod(join(folder, "kept"), 0o500);
      atEnd(t, () => chmod(join(folder, "kept"), 0o700));
      await refused(t, `sqlite:${file}`, { code: "ERR_STORE_PATH", says });
      await chmod(join(folder, "kept"), 0o700);
    } else if (noDisk === undefined) {
      // Root may write anywhere: only a read-only file system stops it.
      const unmount = mountReadOnly(join(folder, "kept"));
      atEnd(t, unmount);
      await refused(t, `sqlite:${file}`, { code: "ERR_STORE_PATH", says });
      unmount();
    }
    await useFile(file, async (app) => assert.equal((await app.schedule.counts()).scheduled, 1));
    await refused(t, `sqlite:${join(folder, "nowhere/x.db")}`, {
      code: "ERR_STORE_PATH",
      says: /no directory .*nowhere/,
    });
  });

  test("on a full disk: nothing is added, all that was is kept, and can be taken back", DISK, async (t) => {
    const folder = await tempDir(t);
    const disk = mountSmallDisk(join(folder, "disk"));
    atEnd(t, () => disk.unmount());
    const file = join(disk.folder, "full.db");
    await useFile(file, async (app) => {
      const kept = await app.schedule.callAfter("1h", app.signature("x"), { key: "kept" });
      disk.fill(8 << 20); // what is kept free is for taking back, and for the ends of what runs
      let refusal: unknown;
      for (let added = 0; refusal === undefined; added += 1) {
        assert.ok(added < 10_000, "it never was full");
        refusal = await app.schedule.callAfter("1h", app.signature("x", { args: ["x".repeat(10_000)] })).then(
          () => undefined,
          (error: unknown) => error,
        );
      }
      const { code, message } = refusal as Error & { code: string };
      assert.equal(code, "ERR_STORE_FULL", message);
      assert.match(message, /full\.db takes nothing new: .*free some space/);
      const env = { LOVAGE_BROKER_URL: "memory://", LOVAGE_SCHEDULE_URL: `sqlite:${file}` };
      const cli = await runCli(t, ["schedule", "cancel", "kept"], { env });
      assert.deepEqual([cli.stdout, cli.stderr, cli.status], ["cancelled", "", 0]);
      assert.equal((await kept.get())?.state, "cancelled");
      disk.free();
      assert.equal((await app.schedule.callAfter("1h", app.signature("x"))).put, "added");
    });
  });
});

/** Answers how to make it writable again; twice is once. */
function mountReadOnly(folder: string): () => void {
  execFileSync("mount", ["--bind", folder, folder]);
  execFileSync("mount", ["-o", "remount,ro,bind", folder]);
  let mounted = true;
  return () => {
    if (mounted) execFileSync("umount", ["-l", folder]);
    mounted = false;
  };
}

async function useFile(file: string, use: (app: Lovage) => Promise<void>): Promise<void> {
  await using app = new Lovage(
    "file",
    {},
    { env: { LOVAGE_BROKER_URL: "memory://", LOVAGE_SCHEDULE_URL: `sqlite:${file}` } },
  );
  await use(app);
}
