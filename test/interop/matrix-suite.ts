/**
 * The interop matrix on one broker, with real processes: Python's client to our worker, our client to Python's worker, and both workers on
 * one queue. The table in docs/celery.md is what a run makes (`LOVAGE_WRITE_MATRIX=1` writes it), and every run compares it.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Lovage } from "lovage";
import { startCeleryWorker } from "../support/celery.ts";
import { atEnd } from "../support/cleanup.ts";
import { Ledger } from "../support/ledger.ts";
import { lovageClient, type MatrixClient, type MatrixPlace, pythonClient } from "../support/matrix-clients.ts";
import { type Program, startWorker } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";
import { type Cell, type MatrixWorld, nothingMore } from "./matrix-cells.ts";

export interface MatrixServers {
  readonly broker: string;
  readonly backend: string;
  /** Messages of the queue that somebody has in hand. */
  unacknowledged(queue: string): Promise<number>;
  /** Messages that wait in the queue. */
  waiting(queue: string): Promise<number>;
}

export interface MatrixOptions {
  /** Names the table in docs/celery.md. */
  readonly name: string;
  readonly broker: MatrixWorld["broker"];
  readonly cells: Readonly<Record<string, Cell>>;
  readonly directions: readonly Direction[];
  /** Called for each direction. */
  servers(t: TestContext): Promise<MatrixServers>;
}

/** Whose client, and whose workers. */
export const DIRECTIONS = [
  { name: "Python → Lovage", client: "python", workers: ["lovage"] },
  { name: "Lovage → Python", client: "lovage", workers: ["python"] },
  { name: "both workers, Python's client", client: "python", workers: ["lovage", "python"] },
  { name: "both workers, our client", client: "lovage", workers: ["lovage", "python"] },
] as const;

export type Direction = (typeof DIRECTIONS)[number];

const APP = join(import.meta.dirname, "../support/apps/matrix-app.ts");
const TASKS = join(import.meta.dirname, "../support/apps/matrix_tasks.py");
const PAGE = join(import.meta.dirname, "../../docs/celery.md");
const ACCEPT = ["json", "yaml", "msgpack"];

export function matrixSuite({ name, broker, cells, directions, servers }: MatrixOptions): void {
  /** Of each cell and direction: what the table says. */
  const said = new Map<string, string>();
  let tried = 0;

  test(`cells on ${name}`, { concurrency: true }, async (t) => {
    await Promise.all(directions.map((each) => t.test(each.name, (inner) => direction(inner, each))));
  });

  test(`the table of ${name} in docs/celery.md is what this run made`, (t) => {
    if (tried < directions.length * Object.keys(cells).length) {
      t.skip("not all cells were tried");
      return;
    }
    const table = tableOf(Object.keys(cells), directions, said);
    const page = readFileSync(PAGE, "utf8");
    const [before, rest = ""] = page.split(`<!-- matrix ${name} -->`);
    const [committed = "", after] = rest.split(`<!-- /matrix ${name} -->`);
    assert.ok(after !== undefined, `docs/celery.md has no place for the matrix of ${name}`);
    if (process.env.LOVAGE_WRITE_MATRIX === "1") {
      writeFileSync(PAGE, `${before}<!-- matrix ${name} -->\n${table}\n<!-- /matrix ${name} -->${after}`);
    } else assert.equal(committed.trim(), table);
  });

  async function direction(t: TestContext, { name: to, client, workers }: Direction): Promise<void> {
    const place = { ...(await servers(t)), queue: `lovage-test-${randomUUID()}` };
    const folder = await tempDir(t);
    const ledger = new Ledger(join(folder, "ledger"));
    writeFileSync(ledger.file, "");
    const env = environment(place, folder, ledger, broker);
    const [lovage, python] = await Promise.all([
      workers.some((each) => each === "lovage") ? lovageWorker(t, env, folder) : undefined,
      workers.some((each) => each === "python") ? pythonWorker(t, place, ledger, broker) : undefined,
    ]);
    const world: MatrixWorld = {
      client: client === "python" ? await pythonClient(t, place) : ours(t, env),
      ledger,
      folder,
      lovage,
      python,
      broker,
      unacknowledged: () => place.unacknowledged(place.queue),
      waiting: () => place.waiting(place.queue),
      expected: new Map(),
    };
    for (const [cell, tries] of Object.entries(cells)) {
      await t.test(`${to}: ${cell}`, { timeout: 90_000 }, async () => {
        tried += 1;
        const better = await tries(world);
        said.set(`${cell} ${to}`, better === undefined ? "same" : `better: ${better}`);
      });
    }
    await t.test(`${to}: nothing ran again, and nothing is left`, { timeout: 90_000 }, async () => {
      await nothingMore(world);
      for (const each of [lovage, python]) {
        if (each !== undefined) assert.deepEqual(await each.stop(), { status: 0, signal: null });
      }
      assert.equal(await place.waiting(place.queue), 0);
    });
  }
}

function environment(place: MatrixPlace, folder: string, ledger: Ledger, broker: string): Record<string, string> {
  const queue = broker === "rabbitmq" ? { name: place.queue, maxPriority: 10 } : { name: place.queue };
  return {
    LOVAGE_BROKER_URL: place.broker,
    LOVAGE_RESULT_BACKEND: place.backend,
    LOVAGE_SCHEDULE_URL: `sqlite:${join(folder, "lovage.db")}`,
    LOVAGE_TASK_QUEUES: JSON.stringify([queue]),
    LOVAGE_TASK_DEFAULT_QUEUE: place.queue,
    LOVAGE_ACCEPT_CONTENT: JSON.stringify(ACCEPT),
    LOVAGE_WORKER_PREFETCH_MULTIPLIER: "1",
    TEST_LEDGER: ledger.file,
  };
}

function ours(t: TestContext, env: Record<string, string>): MatrixClient {
  const app = new Lovage("matrix-client", {}, { env });
  atEnd(t, () => app.close());
  return lovageClient(app);
}

async function lovageWorker(t: TestContext, env: Record<string, string>, cwd: string): Promise<Program> {
  const worker = startWorker(t, {
    app: APP,
    args: ["-l", "info", "-c", "1", "-n", `lovage-${randomUUID()}@%h`],
    env,
    cwd,
  });
  await worker.waitForLine(/ ready\.$/);
  return worker;
}

async function pythonWorker(t: TestContext, place: MatrixPlace, ledger: Ledger, broker: string): Promise<Program> {
  const argument = broker === "rabbitmq" ? '{"x-max-priority": 10}' : "None";
  return startCeleryWorker(t, {
    url: place.broker,
    queue: place.queue,
    tasks: [
      "from kombu import Queue",
      `LEDGER = ${JSON.stringify(ledger.file)}`,
      `app.conf.result_backend = ${JSON.stringify(place.backend)}`,
      `app.conf.task_queues = [Queue(${JSON.stringify(place.queue)}, queue_arguments=${argument})]`,
      `app.conf.task_default_queue = ${JSON.stringify(place.queue)}`,
      "app.conf.worker_prefetch_multiplier = 1",
      `app.conf.accept_content = ${JSON.stringify(ACCEPT)}`,
      readFileSync(TASKS, "utf8"),
    ].join("\n"),
  });
}

function tableOf(
  cells: readonly string[],
  directions: readonly Direction[],
  said: ReadonlyMap<string, string>,
): string {
  const names = directions.map(({ name }) => name);
  const rows = cells.map((cell) => [cell, ...names.map((name) => said.get(`${cell} ${name}`) ?? "–")]);
  return [["", ...names], ["---", ...names.map(() => "---")], ...rows]
    .map((row) => `| ${row.join(" | ")} |`)
    .join("\n");
}
