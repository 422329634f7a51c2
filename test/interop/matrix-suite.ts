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
import { startWorker } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";
import { CELLS, type MatrixWorld } from "./matrix-cells.ts";

export interface MatrixServers {
  readonly broker: string;
  readonly backend: string;
  /** Remove the queue. */
  drop(queue: string): Promise<void>;
}

type Direction = "Python → Lovage" | "Lovage → Python" | "both workers, Python's client" | "both workers, our client";

const DIRECTIONS: readonly Direction[] = [
  "Python → Lovage",
  "Lovage → Python",
  "both workers, Python's client",
  "both workers, our client",
];
const APP = join(import.meta.dirname, "../support/apps/matrix-app.ts");
const TASKS = join(import.meta.dirname, "../support/apps/matrix_tasks.py");
const PAGE = join(import.meta.dirname, "../../docs/celery.md");
const ACCEPT = ["json", "yaml", "msgpack"];

export function matrixSuite(broker: MatrixWorld["broker"], servers: (t: TestContext) => Promise<MatrixServers>): void {
  const held = new Map<string, Set<Direction>>(Object.keys(CELLS).map((cell) => [cell, new Set()]));

  test(`cells on ${broker}`, { concurrency: true }, async (t) => {
    await Promise.all([
      t.test("from Python to Lovage", (each) => direction(each, ["lovage"], ["Python → Lovage"])),
      t.test("from Lovage to Python", (each) => direction(each, ["python"], ["Lovage → Python"])),
      t.test("both workers on one queue", (each) =>
        direction(each, ["lovage", "python"], ["both workers, Python's client", "both workers, our client"]),
      ),
    ]);
  });

  test(`the table of ${broker} in docs/celery.md is what this run made`, () => {
    const table = tableOf(held);
    const page = readFileSync(PAGE, "utf8");
    const [before, rest = ""] = page.split(`<!-- matrix ${broker} -->`);
    const [committed = "", after] = rest.split(`<!-- /matrix ${broker} -->`);
    if (process.env.LOVAGE_WRITE_MATRIX === "1") {
      writeFileSync(PAGE, `${before}<!-- matrix ${broker} -->\n${table}\n<!-- /matrix ${broker} -->${after}`);
    } else assert.equal(committed.trim(), table);
  });

  async function direction(t: TestContext, workers: ("lovage" | "python")[], directions: Direction[]): Promise<void> {
    const place = { ...(await servers(t)), queue: `lovage-test-${randomUUID()}` };
    const folder = await tempDir(t);
    const ledger = new Ledger(join(folder, "ledger"));
    writeFileSync(ledger.file, "");
    atEnd(t, () => place.drop(place.queue));
    const env = environment(place, folder, ledger, broker);
    await Promise.all(
      workers.map(async (each) => {
        if (each === "python") await pythonWorker(t, place, ledger, broker);
        else await lovageWorker(t, env, folder);
      }),
    );
    for (const each of directions) {
      const client =
        each.includes("Python's client") || each.startsWith("Python") ? await pythonClient(t, place) : ours(t, env);
      const world: MatrixWorld = { client, ledger, folder, workers: workers.length, broker };
      for (const [cell, tries] of Object.entries(CELLS)) {
        await t.test(`${each}: ${cell}`, { timeout: 90_000 }, async () => {
          await tries(world);
          held.get(cell)?.add(each);
        });
      }
    }
    if (workers.length > 1) {
      const by = new Set(ledger.of("begun").map((line) => line[3]));
      assert.deepEqual([...by].sort(), ["lovage", "python"], "both have worked");
    }
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

async function lovageWorker(t: TestContext, env: Record<string, string>, cwd: string): Promise<void> {
  const worker = startWorker(t, {
    app: APP,
    args: ["-l", "info", "-c", "1", "-n", `lovage-${randomUUID()}@%h`],
    env,
    cwd,
  });
  await worker.waitForLine(/ ready\.$/);
}

async function pythonWorker(t: TestContext, place: MatrixPlace, ledger: Ledger, broker: string): Promise<void> {
  const argument = broker === "rabbitmq" ? '{"x-max-priority": 10}' : "None";
  await startCeleryWorker(t, {
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

function tableOf(held: ReadonlyMap<string, ReadonlySet<Direction>>): string {
  const rows = [...held].map(([cell, directions]) => [
    cell,
    ...DIRECTIONS.map((each) => (directions.has(each) ? "same" : "–")),
  ]);
  return [["", ...DIRECTIONS], ["---", ...DIRECTIONS.map(() => "---")], ...rows]
    .map((row) => `| ${row.join(" | ")} |`)
    .join("\n");
}
