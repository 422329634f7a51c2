/** A worker with the interop app on a queue, a schedule file and a ledger of its own, and clients beside it. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { Lovage } from "lovage";
import { atEnd } from "./cleanup.ts";
import { Ledger } from "./ledger.ts";
import { type Program, runCli, startWorker } from "./processes.ts";
import { deleteQueues } from "./rabbitmq.ts";
import { AMQP_URL } from "./servers.ts";
import { tempDir } from "./temp.ts";

export const APP = join(import.meta.dirname, "apps/interop-app.ts");

export interface InteropOptions {
  /** Default: RabbitMQ. "sqlite": the embedded file. */
  readonly broker?: "sqlite" | { readonly url: string };
  readonly concurrency?: number;
  /** File of the app. Default: the interop app. */
  readonly app?: string;
}

export class Interop {
  readonly queue: string;
  readonly brokerUrl: string;
  readonly ledger: Ledger;
  readonly folder: string;
  readonly #t: TestContext;
  readonly #env: Record<string, string>;
  readonly #concurrency: number;
  readonly #app: string;

  constructor(t: TestContext, folder: string, options: InteropOptions) {
    const file = `sqlite:${join(folder, "lovage.db")}`;
    const broker = options.broker;
    this.#t = t;
    this.folder = folder;
    this.queue = `lovage-test-${randomUUID()}`;
    this.brokerUrl = broker === "sqlite" ? file : (broker?.url ?? AMQP_URL);
    this.ledger = new Ledger(join(folder, "ledger"));
    this.#concurrency = options.concurrency ?? 2;
    this.#app = options.app ?? APP;
    this.#env = {
      LOVAGE_BROKER_URL: this.brokerUrl,
      LOVAGE_SCHEDULE_URL: file,
      LOVAGE_RESULT_BACKEND: file,
      LOVAGE_TASK_DEFAULT_QUEUE: this.queue,
      TEST_LEDGER: this.ledger.file,
    };
  }

  /** A worker, ready. */
  async worker(env: Record<string, string> = {}, ...args: string[]): Promise<Program> {
    const worker = this.startWorker(env, ...args);
    await worker.waitForLine(/ ready\.$/);
    return worker;
  }

  startWorker(env: Record<string, string> = {}, ...args: string[]): Program {
    return startWorker(this.#t, {
      app: this.#app,
      args: ["-l", "info", "-c", String(this.#concurrency), ...args],
      env: { ...this.#env, ...env },
      cwd: this.folder,
    });
  }

  /** An app of this process, on the same broker, schedule and results. */
  client(env: Record<string, string> = {}): Lovage {
    const app = new Lovage("interop-client", {}, { env: { ...this.#env, ...env } });
    atEnd(this.#t, () => app.close());
    return app;
  }

  /** `lovage …` on the same broker, schedule and results. */
  async cli(...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
    return runCli(this.#t, args, { env: this.#env, cwd: this.folder });
  }

  /** Run a task and answer what it returned. */
  async call<Result>(client: Lovage, task: string, ...args: unknown[]): Promise<Result> {
    const result = await client.signature(task, { args }).delay();
    return (await result.get({ timeout: 60 })) as Result;
  }
}

export async function interop(t: TestContext, options: InteropOptions = {}): Promise<Interop> {
  const world = new Interop(t, await tempDir(t), options);
  if (world.brokerUrl === AMQP_URL) atEnd(t, () => deleteQueues([world.queue]));
  return world;
}
