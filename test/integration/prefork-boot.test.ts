/** Starting pool processes: what they load and inherit, and an app that does not load. (FAULTS F-09) */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import { createLogger } from "../../src/kit/log.ts";
import type { ChildBootError } from "../../src/pool/errors.ts";
import { childEnv, childExecArgv } from "../../src/pool/prefork/child-env.ts";
import { type PreforkOptions, PreforkPool } from "../../src/pool/prefork/prefork.ts";
import { poolJob, until } from "../../src/testing/pool-conformance.ts";
import { isAlive } from "../support/alive.ts";
import { tempDir } from "../support/temp.ts";

const APPS = join(import.meta.dirname, "../support/apps");
const HANG = { timeout: 60_000 };

function newPool(t: TestContext, appPath: string, options: Partial<PreforkOptions> = {}) {
  const lines: string[] = [];
  const pool = new PreforkPool({
    size: 2,
    appPath,
    ask: async () => null,
    log: createLogger({ level: "debug", destination: (line) => lines.push(line) }),
    childLog: { level: "critical" },
    ...options,
  });
  t.after(() => pool.stop(0));
  return { pool, lines };
}

async function bootError(pool: PreforkPool): Promise<ChildBootError> {
  const error = await pool.start().then(
    () => assert.fail("it started"),
    (thrown: ChildBootError) => thrown,
  );
  assert.equal(error.code, "ERR_CHILD_BOOT");
  assert.ok(!error.message.includes("\n"), "one line");
  assert.deepEqual(pool.pids, [], "no process is left");
  return error;
}

async function resultOf(pool: PreforkPool, task: string): Promise<unknown> {
  const outcome = await pool.submit(poolJob(task)).outcome;
  assert.ok(outcome.kind === "succeeded", JSON.stringify(outcome));
  return JSON.parse(outcome.result);
}

test("an app that throws while it is loaded fails the start, with the user's own stack", HANG, async (t) => {
  const path = join(APPS, "pool-broken-throws.ts");
  const { pool } = newPool(t, path);
  const error = await bootError(pool);
  assert.ok(error.message.includes(path), error.message);
  assert.match(error.message, /the shop needs SHOP_URL see its README/);
  assert.match(
    error.childStack ?? "",
    /TypeError: the shop needs SHOP_URL\nsee its README\n +at missingSetting .*pool-broken-helper\.ts:3/,
  );
  assert.equal(error.childCode, "ESHOP");
});

test(
  "a file that is not there, holds no app, is no code, or ends the process, fails the start by name",
  HANG,
  async (t) => {
    const folder = await tempDir(t);
    const file = async (name: string, text: string) => {
      await writeFile(join(folder, name), text);
      return join(folder, name);
    };
    for (const [path, message, stack] of [
      [join(folder, "missing.ts"), /missing\.ts.*there is no such file/, /AppNotFoundError/],
      [await file("no-app.mjs", "export const x = 1;"), /no-app\.mjs.*exports no app/, /AppNotFoundError/],
      [await file("syntax.mjs", "export const app = ;"), /syntax\.mjs.*Unexpected token/, /SyntaxError/],
      [await file("needs.mjs", 'import "./not-there.mjs";'), /needs\.mjs.*not-there\.mjs/, /ERR_MODULE_NOT_FOUND/],
      [
        await file("leaves.mjs", "process.exit(4);"),
        /leaves\.mjs: it exited with status 4 before it was ready/,
        undefined,
      ],
      [
        await file("crashes.mjs", "process.abort();"),
        /crashes\.mjs: it was killed by SIGABRT before it was ready/,
        undefined,
      ],
      [
        await file("later.mjs", 'Promise.reject(new Error("nobody waits")); await new Promise(() => {});'),
        /later\.mjs: nobody waits/,
        /later\.mjs:1/,
      ],
    ] as const) {
      const { pool } = newPool(t, path, { size: 1 });
      const error = await bootError(pool);
      assert.match(error.message, message);
      if (stack === undefined) assert.equal(error.childStack, undefined);
      else assert.match(error.childStack ?? "", stack);
    }
  },
);

test("an app that never finishes loading fails the start when its time is over", HANG, async (t) => {
  const folder = await tempDir(t);
  await writeFile(join(folder, "hangs.mjs"), "await new Promise(() => {});");
  const { pool } = newPool(t, join(folder, "hangs.mjs"), { bootTimeoutMs: 300 });
  assert.match(
    (await bootError(pool)).message,
    /it was not ready after 0.3 s before it was ready|not ready after 0.3 s/,
  );
});

test("a stop while the pool starts ends the start, and leaves no process", HANG, async (t) => {
  const { pool } = newPool(t, join(APPS, "pool-tasks.ts"));
  const starting = pool.start();
  const { pids } = pool;
  const refused = assert.rejects(starting, { code: "ERR_CLOSED" });
  await pool.stop(60_000);
  await refused;
  assert.equal(pids.length, 2);
  assert.deepEqual(pids.map(isAlive), [false, false]);
});

/** An app whose file says at each load whether it loads. */
async function moody(t: TestContext): Promise<{ path: string; mood(text: string): Promise<void> }> {
  const folder = await tempDir(t);
  const path = join(folder, "moody.mjs");
  const mood = (text: string) => writeFile(join(folder, "mood.json"), JSON.stringify(text));
  await mood("good");
  const tasks = pathToFileURL(join(APPS, "pool-tasks.ts")).href;
  await writeFile(
    path,
    `import { readFileSync } from "node:fs";
     const mood = JSON.parse(readFileSync(new URL("mood.json", import.meta.url), "utf8"));
     if (mood !== "good") throw new Error("in a bad mood: " + mood);
     export const { app } = await import(${JSON.stringify(tasks)});`,
  );
  return { path, mood };
}

test("an app that fails to load once, later, is tried again; no job is given to such a process", HANG, async (t) => {
  const { path, mood } = await moody(t);
  const { pool, lines } = newPool(t, path, { size: 1 });
  await pool.start();
  await mood("half a deploy");
  process.kill(pool.pids[0] ?? 0, "SIGKILL");
  await until(pool, () => lines.some((line) => line.includes("half a deploy; it is tried again")));
  assert.equal(pool.free, 0);
  assert.throws(() => pool.submit(poolJob("pool.noop")), { code: "ERR_POOL_BUSY" });
  await mood("good");
  await until(pool, () => pool.free === 1);
  assert.equal(await resultOf(pool, "pool.noop"), null);
});

test("after three in a row that fail to load the pool is broken, and says why; what runs goes on", HANG, async (t) => {
  const { path, mood } = await moody(t);
  const { pool, lines } = newPool(t, path);
  await pool.start();
  const run = pool.submit(poolJob("pool.obedient"));
  const pid = await run.accepted;
  await mood("for good");
  for (const each of pool.pids) if (each !== pid) process.kill(each, "SIGKILL");

  const error = (await pool.broken) as ChildBootError;
  assert.equal(error.code, "ERR_CHILD_BOOT");
  assert.match(error.childStack ?? "", /in a bad mood: for good/);
  assert.ok(lines.some((line) => line.includes("CRITICAL") && line.includes("3 in a row")));
  assert.deepEqual(pool.pids, [pid]);
  run.abort("enough", 60_000);
  assert.equal((await run.outcome).kind, "aborted");
});

test(
  "a child is given the user's environment without the URLs of broker and stores, and the parent's flags",
  HANG,
  async (t) => {
    const secrets = {
      LOVAGE_BROKER_URL: "amqp://u:secret-1@host//",
      CELERY_BROKER_URL: "amqp://u:secret-2@host//",
      CELERY_RESULT_BACKEND: "redis://:secret-3@host",
      LOVAGE_SCHEDULE: "sqlite:secret-4.db",
    };
    const { pool } = newPool(t, join(APPS, "pool-faults.ts"), {
      size: 1,
      env: childEnv({ ...process.env, ...secrets, SHOP_API_KEY: "for tasks", LOVAGE_TASK_DEFAULT_QUEUE: "mine" }),
    });
    await pool.start();
    const env = (await resultOf(pool, "look.env")) as Record<string, string>;
    assert.ok(!JSON.stringify(env).includes("secret-"));
    assert.deepEqual(
      [env.SHOP_API_KEY, env.LOVAGE_TASK_DEFAULT_QUEUE, env.PATH],
      ["for tasks", "mine", process.env.PATH],
    );
    assert.ok(((await resultOf(pool, "look.argv")) as string[]).includes("--conditions=lovage-source"));
  },
);

test(
  "a child loads nothing of brokers, results, stores, SQLite, the hub, the worker or the command line",
  HANG,
  async (t) => {
    const preload = pathToFileURL(join(APPS, "pool-loaded.ts")).href;
    const { pool } = newPool(t, join(APPS, "pool-faults.ts"), {
      size: 1,
      execArgv: [`--import=${preload}`, ...childExecArgv(process.execArgv)],
    });
    await pool.start();
    const loaded = (await resultOf(pool, "look.modules")) as string[];
    assert.ok(
      loaded.some((url) => url.endsWith("/src/child/main.ts")),
      "the probe works",
    );
    assert.ok(
      loaded.some((url) => url.endsWith("/src/app/run-task.ts")),
      "the probe works",
    );
    const root = new URL("../../src/", import.meta.url).href;
    const own = loaded.filter((url) => url.startsWith(root)).map((url) => url.slice(root.length));
    // Contracts and error classes weigh nothing; what opens, listens or runs a loop is what must not be there.
    const forbidden =
      /^(brokers\/(memory|sqlite|rabbitmq)|results\/(memory|sqlite)|schedule\/(stores|scheduler)|sqlite|hub|worker|cli|http|quarantine\/|pool\/(solo|prefork\/prefork))/;
    assert.deepEqual(
      own.filter((path) => forbidden.test(path)),
      [],
    );
    assert.deepEqual(
      loaded.filter((url) => /node:sqlite|amqplib/.test(url)),
      [],
    );
  },
);
