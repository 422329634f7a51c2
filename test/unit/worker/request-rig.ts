/** A request with everything around it, all of it noted in one order: what the broker, the result backend and the schedule were told. */

import { Lovage } from "../../../src/app/app.ts";
import type { Config, SettingsInput } from "../../../src/app/config.ts";
import { callOfSignature } from "../../../src/app/signature-call.ts";
import type { TaskOptions } from "../../../src/app/task-options.ts";
import type { Delivery } from "../../../src/brokers/broker.ts";
import { UnavailableError } from "../../../src/kit/errors.ts";
import { createLogger } from "../../../src/kit/log.ts";
import type { Ask } from "../../../src/pool/asks.ts";
import type { Job, Outcome, Pool, Run } from "../../../src/pool/pool.ts";
import { ACCEPT_JSON } from "../../../src/protocol/content.ts";
import type { TaskMessage } from "../../../src/protocol/message.ts";
import type { ResultDocument } from "../../../src/protocol/result.ts";
import type { Quarantine } from "../../../src/quarantine/quarantine.ts";
import type { ResultBackend } from "../../../src/results/backend.ts";
import type { NewCallback } from "../../../src/schedule/callback.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";
import { Aftermath } from "../../../src/worker/aftermath.ts";
import { Followers } from "../../../src/worker/followers.ts";
import { Intake } from "../../../src/worker/intake.ts";
import { Losses } from "../../../src/worker/losses.ts";
import { NextRuns } from "../../../src/worker/next-run.ts";
import { Past } from "../../../src/worker/past.ts";
import { Recorder } from "../../../src/worker/record.ts";
import { Refusals } from "../../../src/worker/refusals.ts";
import type { Revoked } from "../../../src/worker/revoked.ts";
import { Slots } from "../../../src/worker/slots.ts";
import { Strategies } from "../../../src/worker/strategy.ts";
import { TaskEvents, type TaskListener } from "../../../src/worker/task-events.ts";

export const TASK = "shop.pay";

class AwayError extends UnavailableError {
  readonly code = "ERR_BROKER_UNAVAILABLE";
}

export interface RigOptions {
  readonly settings?: SettingsInput;
  readonly task?: TaskOptions;
  /** Publishing fails. */
  readonly brokerAway?: boolean;
  readonly quarantineFull?: boolean;
}

export interface Sent {
  readonly message: TaskMessage;
  readonly to: unknown;
}

/** A pool of one slot, whose runs a test ends. */
class FakePool {
  free = 1;
  readonly jobs: Job[] = [];
  readonly ends: ((outcome: Outcome) => void)[] = [];
  readonly aborted: string[] = [];
  readonly #order: string[];
  #onFree: () => void = () => undefined;

  constructor(order: string[]) {
    this.#order = order;
  }

  submit(job: Job): Run {
    this.free -= 1;
    this.jobs.push(job);
    this.#order.push("run");
    const accepted = Promise.withResolvers<number | undefined>();
    const outcome = Promise.withResolvers<Outcome>();
    accepted.resolve(4_242);
    this.ends.push((end) => {
      this.free += 1;
      outcome.resolve(end);
      this.#onFree();
    });
    return { job, accepted: accepted.promise, outcome: outcome.promise, abort: (why) => this.aborted.push(why) };
  }

  onFree(listener: () => void): () => void {
    this.#onFree = listener;
    return () => undefined;
  }
}

export function rig({ settings = {}, task = {}, brokerAway = false, quarantineFull = false }: RigOptions = {}) {
  const order: string[] = [];
  const log: string[] = [];
  const documents: ResultDocument[] = [];
  const sent: Sent[] = [];
  const parkedCallbacks: NewCallback[] = [];
  const quarantined: { code: string; reason: string }[] = [];
  const tombstones = new Set<string>();
  const revokedIds = new Set<string>();
  const clock = new FakeClock();
  const logger = createLogger({ level: "debug", destination: (line) => log.push(line) });
  const app = new Lovage("rig", settings, { clock, env: {} });
  app.task(TASK, task, () => undefined);
  const config: Config = app.config;
  const pool = new FakePool(order);
  const results = {
    get: async (id: string) => documents.findLast((each) => each.task_id === id),
    store: async (document: ResultDocument) => {
      documents.push(document);
      order.push(`store ${document.status}${document.task_id === "id-1" ? "" : ` of ${document.task_id}`}`);
    },
  } as unknown as ResultBackend;
  const recorder = new Recorder({ results, config, hostname: "w@h", clock, log: logger });
  const ask = (async (op: string, params: Sent) => {
    if (op !== "publish") throw new Error(`unexpected ${op}`);
    if (brokerAway) throw new AwayError("the broker is away");
    sent.push(params);
    order.push(`send ${params.message.task}`);
    return null;
  }) as unknown as Ask;
  const park = async (callback: NewCallback) => {
    parkedCallbacks.push(callback);
    order.push(`park ${callback.message.task}`);
    return { put: "added", id: "c-1", dueMs: callback.dueMs } as const;
  };
  const events = new TaskEvents(logger);
  const told: string[] = [];
  const names = ["received", "started", "succeeded", "failed", "rejected", "revoked", "retried", "cancelled"] as const;
  const listener: TaskListener = Object.fromEntries(
    names.map((name) => [
      name,
      (_message: TaskMessage, ...rest: unknown[]) => {
        order.push(name);
        told.push([name, ...rest.filter((each) => typeof each !== "object")].join(" "));
      },
    ]),
  );
  events.listen(listener);
  const addressing = { config, queues: app.queues, clock };
  const followers = new Followers({
    recorder,
    ask,
    park,
    address: (call) => callOfSignature(call, app.registry.get(call.signature.task)?.options ?? {}, addressing),
    clock,
    log: logger,
  });
  const quarantine = {
    add: async (message: { code: string; reason: string }) => {
      if (quarantineFull) throw new Error("the disk is full");
      quarantined.push(message);
      order.push(`quarantine ${message.code}`);
      return "1";
    },
  } as unknown as Quarantine;
  const giveUp = new AbortController();
  const revoked = {
    hold: async () => undefined,
    has: ({ id }: TaskMessage) => revokedIds.has(id),
    drop: () => undefined,
    running: () => () => undefined,
  } as unknown as Revoked;
  const store = {
    revoke: async (id: string) => {
      tombstones.add(id);
      return { answer: "unknown" } as const;
    },
    revoked: async (ids: readonly string[]) => new Set(ids.filter((id) => tombstones.has(id))),
  };
  const slots = new Slots(pool as unknown as Pool);
  const losses = () => new Losses({ store, clock, log: logger });
  const intake = new Intake({
    strategies: new Strategies(app.registry, config),
    slots,
    refusals: new Refusals({ quarantine, clock, log: logger, giveUp: giveUp.signal }),
    recorder,
    park,
    context: {
      pool: pool as unknown as Pool,
      recorder,
      aftermath: new Aftermath(recorder, followers),
      nextRuns: new NextRuns({
        ask,
        park,
        queues: new Set(["celery", "served"]),
        reachedBy: (exchange, routingKey) => app.queues.reachedBy(exchange, routingKey)?.name,
        log: logger,
      }),
      refusals: new Refusals({ quarantine, clock, log: logger, giveUp: giveUp.signal }),
      revoked,
      past: new Past({ deduplicates: config.workerDeduplicateSuccessfulTasks, results, clock, log: logger }),
      losses: losses(),
      events,
      clock,
      log: logger,
      hostname: "w@h",
    },
    cancelsWhenLost: config.workerCancelLongRunningTasksOnConnectionLoss,
    timezone: "UTC",
    accept: ACCEPT_JSON,
    clock,
    log: logger,
  });

  /** Deliver it; `name` tells its ends apart in `order`. */
  const deliver = (
    headers: Readonly<Record<string, unknown>> = {},
    { body = "[[], {}, {}]", redelivered = false, name = "" } = {},
  ): void => {
    const end = (what: string) => async () => void order.push(name === "" ? what : `${what} ${name}`);
    const delivery: Delivery = {
      message: {
        body: Buffer.from(body),
        properties: { contentType: "application/json", contentEncoding: "utf-8", replyTo: "client", priority: 3 },
        headers: { task: TASK, id: "id-1", ...headers },
      },
      queue: "celery",
      exchange: "",
      routingKey: "celery",
      redelivered,
      ack: end("ack"),
      requeue: end("requeue"),
      reject: end("reject"),
    };
    intake.receive(delivery);
  };

  return {
    clock,
    intake,
    pool,
    order,
    told,
    log,
    documents,
    sent,
    parked: parkedCallbacks,
    quarantined,
    revokedIds,
    losses,
    deliver,
    /** End the oldest run that is not ended, and let all that follows happen. */
    async end(outcome: Outcome): Promise<void> {
      await settled();
      const end = pool.ends.shift();
      if (end === undefined) throw new Error(`nothing runs; so far: ${order.join(", ")}`);
      end(outcome);
      await settled();
    },
    settled,
  };
}

/** All that needs no time has happened. */
async function settled(): Promise<void> {
  for (let i = 0; i < 10; i += 1) await new Promise((resolve) => setImmediate(resolve));
}
