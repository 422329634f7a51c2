/**
 * Messages with an eta far ahead, as many as there are, to one worker: what it holds of them, what it grows by, and whether each is taken over once.
 * Published by our own client; a real worker process on a real broker, with its schedule in a file.
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
import { unacknowledgedIn, withVhost } from "../support/vhost.ts";

export interface EtaOptions {
  readonly broker: "rabbitmq" | "redis";
  readonly messages: number;
  /** Sent first, and not counted: a process that has just started is not what it is when it works. */
  readonly warmUp: number;
}

export interface EtaFigures {
  readonly broker: string;
  readonly messages: number;
  readonly prefetch: number;
  /** The most that were seen unacknowledged at once, in so many looks. */
  readonly mostUnacknowledged: number;
  readonly looks: number;
  /** Messages that the worker was handed. */
  readonly received: number;
  /** Callbacks that wait in the schedule at the end. */
  readonly scheduled: number;
  /** From the first message to the last one in the schedule. */
  readonly seconds: number;
  /** Resident memory of the worker's main process, MiB: warmed up, the most, and at the end. */
  readonly rss: { readonly before: number; readonly most: number; readonly after: number };
}

const APP = join(import.meta.dirname, "../support/apps/eta-app.ts");
const CONCURRENCY = 2;
const PREFETCH = 4 * CONCURRENCY;
const HOUR_MS = 3_600_000;
/** Published before the confirms of those before have come. */
const BATCH = 500;

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

  await send(client, warmUp);
  await scheduled(client, warmUp);
  const rss = { before: residentMb(worker.pid), most: 0, after: 0 };
  let most = 0;
  let looks = 0;
  let looking = true;
  const watching = (async () => {
    while (looking) {
      most = Math.max(most, await place.unacknowledged(queue));
      rss.most = Math.max(rss.most, residentMb(worker.pid));
      looks += 1;
      await wait(place.pauseMs);
    }
  })();
  const startMs = performance.now();
  await send(client, messages);
  await scheduled(client, warmUp + messages);
  const seconds = (performance.now() - startMs) / 1_000;
  // What is delivered again comes after the visibility timeout, and is looked for each 10 s at the latest.
  if (broker === "redis") await wait(21_000);
  looking = false;
  await watching;
  rss.after = residentMb(worker.pid);
  const counts = await client.schedule.counts();
  const received = worker.lines.filter((line) => / received$/.test(line)).length - warmUp;
  await worker.stop();
  return {
    broker,
    messages,
    prefetch: PREFETCH,
    mostUnacknowledged: most,
    looks,
    received,
    scheduled: (counts.scheduled ?? 0) - warmUp,
    seconds,
    rss,
  };
}

/** What must hold, however many there were. */
export function checkEta({ broker, messages, prefetch, mostUnacknowledged, received, scheduled }: EtaFigures): void {
  // RabbitMQ's channel frees its window when it reads an acknowledgement; the queue counts the message until it hears of it.
  const most = broker === "rabbitmq" ? 4 * prefetch : prefetch;
  assert.ok(mostUnacknowledged <= most, `${mostUnacknowledged} unacknowledged, and the prefetch count is ${prefetch}`);
  assert.equal(received, messages, "each was delivered once");
  assert.equal(scheduled, messages, "each waits in the schedule");
}

async function send(client: Lovage, count: number): Promise<void> {
  const eta = new Date(Date.now() + HOUR_MS);
  for (let from = 0; from < count; from += BATCH) {
    const size = Math.min(BATCH, count - from);
    await Promise.all(
      Array.from({ length: size }, (_, i) =>
        client.signature("eta.later", { args: [from + i, "x".repeat(200)], eta }).delay(),
      ),
    );
  }
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
  unacknowledged(queue: string): Promise<number>;
}

async function redisPlace(t: TestContext): Promise<EtaPlace> {
  const { url } = await startRedis(t);
  const raw = rawClient(t, url);
  return { url, pauseMs: 20, unacknowledged: () => raw.hlen("unacked") };
}

async function rabbitmqPlace(t: TestContext): Promise<EtaPlace> {
  const { url, name } = await withVhost(t);
  return { url, pauseMs: 500, unacknowledged: (queue) => unacknowledgedIn(name, queue) };
}
