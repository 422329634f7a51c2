/**
 * Messages with an eta far ahead, as many as there are, to one worker: what it holds of them, what it grows by, and whether each is taken over once.
 * Published by Celery's own client, in one process; a real worker process on a real broker, with its schedule in a file.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { Lovage } from "lovage";
import { atEnd } from "../support/cleanup.ts";
import { startWorker } from "../support/processes.ts";
import { rawClient, startRedis } from "../support/redis.ts";
import { tempDir } from "../support/temp.ts";
import { mostUnacknowledgedOfAChannel, withVhost } from "../support/vhost.ts";
import { etaPublisher } from "./publisher.ts";

export interface EtaOptions {
  readonly broker: "rabbitmq" | "redis";
  readonly messages: number;
  /** Sent first, and not counted: a process that has just started is not what it is when it works. */
  readonly warmUp: number;
}

export interface EtaFigures {
  readonly broker: string;
  readonly messages: number;
  readonly warmUp: number;
  readonly prefetch: number;
  /** The most that were seen unacknowledged at once, in so many looks. */
  readonly mostUnacknowledged: number;
  readonly looks: number;
  /** Messages that the worker was handed, and how many different ones they were. */
  readonly received: number;
  readonly different: number;
  /** Callbacks that wait in the schedule at the end. */
  readonly scheduled: number;
  /** From the first message to the last one in the schedule. */
  readonly seconds: number;
  /** Resident memory of the worker's main process, MiB: warmed up, the most, and at the end. */
  readonly rss: { readonly before: number; readonly most: number; readonly after: number };
  /** The same after each tenth of the messages. */
  readonly rssTenths: readonly number[];
}

const APP = join(import.meta.dirname, "../support/apps/eta-app.ts");
const CONCURRENCY = 2;
const PREFETCH = 4 * CONCURRENCY;
/** What the worker's main process may grow by, MiB. */
const GROWTH_MB = 20;

export async function runEta(t: TestContext, { broker, messages, warmUp }: EtaOptions): Promise<EtaFigures> {
  const folder = await tempDir(t);
  const place = broker === "redis" ? await redisPlace(t) : await rabbitmqPlace(t);
  const queue = `lovage-test-${randomUUID()}`;
  const env = {
    LOVAGE_BROKER_URL: place.url,
    LOVAGE_SCHEDULE_URL: `sqlite:${join(folder, "lovage.db")}`,
    LOVAGE_TASK_DEFAULT_QUEUE: queue,
    LOVAGE_BROKER_TRANSPORT_OPTIONS: JSON.stringify({ visibility_timeout: 10 }),
  };
  const worker = startWorker(t, { app: APP, args: ["-l", "info", "-c", String(CONCURRENCY)], env, cwd: folder });
  await worker.waitForLine(/ ready\.$/);
  const client = new Lovage("eta", {}, { env });
  atEnd(t, () => client.close());

  const publisher = await etaPublisher(t, place.url, queue);
  await publisher.send(warmUp);
  await scheduled(client, warmUp);
  const rss = { before: residentMb(worker.pid), most: 0, after: 0 };
  const rssTenths: number[] = [];
  let most = 0;
  let looks = 0;
  let looking = true;
  const watching = (async () => {
    while (looking) {
      most = Math.max(most, await place.unacknowledged());
      rss.most = Math.max(rss.most, residentMb(worker.pid));
      looks += 1;
      await wait(place.pauseMs);
    }
  })();
  const startMs = performance.now();
  const sent = publisher.send(messages);
  for (let tenth = 1; tenth <= 10; tenth += 1) {
    await scheduled(client, warmUp + Math.ceil((messages * tenth) / 10));
    rssTenths.push(residentMb(worker.pid));
  }
  await sent;
  const seconds = (performance.now() - startMs) / 1_000;
  // What is delivered again comes after the visibility timeout, and is looked for each 10 s at the latest.
  if (broker === "redis") await wait(21_000);
  looking = false;
  await watching;
  rss.after = residentMb(worker.pid);
  const counts = await client.schedule.counts();
  const ids = worker.lines.flatMap((line) => /\[([0-9a-f-]{36})\] received$/.exec(line)?.[1] ?? []);
  await worker.stop();
  return {
    broker,
    messages,
    warmUp,
    prefetch: PREFETCH,
    mostUnacknowledged: most,
    looks,
    received: ids.length - warmUp,
    different: new Set(ids).size - warmUp,
    scheduled: (counts.scheduled ?? 0) - warmUp,
    seconds,
    rss,
    rssTenths,
  };
}

/** What must hold, however many there were. */
export function checkEta({ messages, prefetch, mostUnacknowledged, received, different, scheduled }: EtaFigures): void {
  assert.ok(
    mostUnacknowledged <= prefetch,
    `${mostUnacknowledged} unacknowledged, and the prefetch count is ${prefetch}`,
  );
  assert.equal(received, messages, "each was delivered once");
  assert.equal(different, messages, "none came in place of another");
  assert.equal(scheduled, messages, "each waits in the schedule");
}

/** What holds when the warm-up was long enough for V8's young generation and SQLite's cache to have their size. */
export function checkGrowth({ rss }: EtaFigures): void {
  const grown = rss.after - rss.before;
  assert.ok(grown <= GROWTH_MB, `the worker grew by ${grown} MiB`);
}

async function scheduled(client: Lovage, count: number): Promise<void> {
  while (((await client.schedule.counts()).scheduled ?? 0) < count) await wait(200);
}

function residentMb(pid: number): number {
  const kb = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Math.round(Number(kb) / 102.4) / 10;
}

interface EtaPlace {
  readonly url: string;
  /** Between two looks: rabbitmqctl takes half a second itself. */
  readonly pauseMs: number;
  unacknowledged(): Promise<number>;
}

async function redisPlace(t: TestContext): Promise<EtaPlace> {
  const { url } = await startRedis(t);
  const raw = rawClient(t, url);
  return { url, pauseMs: 20, unacknowledged: () => raw.hlen("unacked") };
}

async function rabbitmqPlace(t: TestContext): Promise<EtaPlace> {
  const { url, name } = await withVhost(t);
  return { url, pauseMs: 500, unacknowledged: () => mostUnacknowledgedOfAChannel(name) };
}
