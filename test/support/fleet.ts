/**
 * A fleet: CLI workers on one schedule, with clients and the command line beside them. Broker and results are one embedded file, unless the
 * test says otherwise; the schedule is where the URL says, and nothing else of the app knows it.
 */
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { Lovage } from "lovage";
import { atEnd } from "./cleanup.ts";
import { Ledger } from "./ledger.ts";
import { type Program, runCli, startWorker } from "./processes.ts";
import { tempDir } from "./temp.ts";

const APP = join(import.meta.dirname, "apps/fleet-app.ts");

/** Where a schedule is, for one test alone; what it leaves there is removed at the test's end. */
export interface Place {
  readonly url: string;
  readonly namespace?: string;
}

export interface FleetOptions {
  readonly place: Place;
  /** Default: an embedded file. */
  readonly broker?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export class Fleet {
  readonly ledger: Ledger;
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly #t: TestContext;
  readonly #name = `lovage-test-${randomUUID()}`;

  constructor(t: TestContext, folder: string, { place, broker, env = {} }: FleetOptions) {
    const file = `sqlite:${join(folder, "broker.db")}`;
    this.#t = t;
    this.folder = folder;
    this.ledger = new Ledger(join(folder, "ledger"));
    this.env = {
      LOVAGE_BROKER_URL: broker ?? file,
      LOVAGE_RESULT_BACKEND: file,
      LOVAGE_SCHEDULE_URL: place.url,
      LOVAGE_NAMESPACE: place.namespace ?? "lovage",
      LOVAGE_TASK_DEFAULT_QUEUE: this.queue("default"),
      TEST_LEDGER: this.ledger.file,
      ...env,
    };
  }

  /** The queue's name on this test's broker. */
  queue(name: string): string {
    return `${this.#name}-${name}`;
  }

  /** A worker with one sub-process, ready; it serves these queues, or the default one. */
  async worker(name: string, queues: readonly string[] = [], env: Record<string, string> = {}): Promise<Program> {
    const served = queues.length === 0 ? [] : ["-Q", queues.map((each) => this.queue(each)).join(",")];
    const worker = startWorker(this.#t, {
      app: APP,
      args: ["-l", "info", "-c", "1", "-n", `${name}@fleet`, ...served],
      env: { ...this.env, ...env },
      cwd: this.folder,
    });
    await worker.waitForLine(/ ready\.$/);
    return worker;
  }

  /** An app of this process, with the fleet's settings and nothing of its code. */
  client(): Lovage {
    const app = new Lovage("fleet-client", {}, { env: this.env });
    atEnd(this.#t, () => app.close());
    return app;
  }

  /** `lovage schedule …`; answers what it printed, and its exit status. */
  async schedule(...args: string[]): Promise<{ stdout: string; stderr: string; status: number | null }> {
    return runCli(this.#t, ["schedule", ...args], { env: this.env, cwd: this.folder });
  }

  gate(name: string): string {
    return join(this.folder, `gate-${name}`);
  }

  open(gate: string): Promise<void> {
    return writeFile(gate, "");
  }

  /** Whatever else was due by now has had its chance: a callback that was put after it, and is due after it, has run. */
  async afterAllThatIsDue(client: Lovage, dueInSeconds = 0.3): Promise<void> {
    const word = randomUUID();
    await client.schedule.callAfter(dueInSeconds, client.signature("fleet.note", { args: [word] }));
    await this.ledger.waitFor(1, "ran", word);
  }
}

export async function startFleet(t: TestContext, options: FleetOptions): Promise<Fleet> {
  return new Fleet(t, await tempDir(t), options);
}
