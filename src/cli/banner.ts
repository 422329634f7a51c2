/** What a worker says of itself when it starts: Celery's banner, with the durability level. Passwords are masked. */
import { relative } from "node:path";
import { redactUrl } from "../kit/redact.ts";
import type { Durability } from "../schedule/store.ts";
import type { Worker } from "../worker/worker.ts";

const SURVIVES: Readonly<Record<Durability, string>> = {
  strict: "survives power loss",
  process: "survives kill -9, not power loss",
  memory: "gone when its server ends",
};

export async function banner(worker: Worker, file: string): Promise<string> {
  const { app, config, concurrency, hostname, pool, queues } = worker.settings;
  const store = await app.backends.store();
  const rows: [string, string][] = [
    ["app", `${app.name} (${relative(process.cwd(), file) || file})`],
    ["broker", redactUrl(config.brokerReadUrl ?? config.broker)],
    ["results", config.backend === undefined ? "disabled" : redactUrl(config.backend)],
    ["schedule", `${redactUrl(config.schedule)}, ${levelText(config.schedule, store.durability)}`],
    ["pool", `${pool}, concurrency ${concurrency}`],
    ["queues", queues.join(", ")],
  ];
  const tasks = app.registry.names().map((name) => `  . ${name}`);
  return [
    "",
    ` lovage: ${hostname}`,
    "",
    " [config]",
    ...rows.map(([name, value]) => `  . ${`${name}:`.padEnd(10)}${value}`),
    "",
    " [tasks]",
    ...(tasks.length === 0 ? ["  (none)"] : tasks),
    "",
  ].join("\n");
}

function levelText(url: string, level: Durability): string {
  return `${level}: ${/^memory:/i.test(url) ? "gone with this process" : SURVIVES[level]}`;
}
