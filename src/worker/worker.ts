/**
 * The running worker: a blueprint of steps, started in the order of their needs and stopped in reverse. The main process
 * owns the hub, the schedule and the broker's connection, and runs no user code but bootsteps (and, in the solo pool, tasks).
 */
import type { Lovage } from "../app/app.ts";
import type { QueueOptions } from "../app/queues.ts";
import { Blueprint, type StepState } from "../blueprint/blueprint.ts";
import type { AnyStep } from "../blueprint/step-set.ts";
import type { Timer } from "../hub/timer.ts";
import type { Timeout } from "../kit/clock.ts";
import { withDeadline } from "../kit/deadline.ts";
import { messageOf, toError } from "../kit/errors.ts";
import { COLD_STOP } from "./own-ends.ts";
import { settingsRef, type WorkerOptions, type WorkerSettings, workerSettings } from "./settings.ts";
import { consumerStep, consumerSteps, workerBlueprintRef } from "./steps/consumer.ts";
import { hubStep } from "./steps/hub.ts";
import { poolStep } from "./steps/pool.ts";
import { recorderStep } from "./steps/recorder.ts";
import { requestsStep } from "./steps/requests.ts";
import { schedulerStep } from "./steps/scheduler.ts";
import { storeStep } from "./steps/store.ts";
import { timerStep } from "./steps/timer.ts";

/** A cold stop is over by then, whatever does not answer. */
const COLD_STOP_MS = 2_000;

/** For the steps that do not wait for work in progress, the user's own among them. */
const STEP_STOP_MS = 10_000;

const OWN_STEPS: readonly AnyStep[] = [
  hubStep,
  timerStep,
  storeStep,
  recorderStep,
  poolStep,
  requestsStep,
  schedulerStep,
  consumerStep,
];

export class Worker {
  readonly settings: WorkerSettings;
  readonly #blueprint: Blueprint;
  #stopping: Promise<void> | undefined;
  /** Set by a soft stop: when it turns cold. */
  #patience: Timeout | undefined;
  #goCold: () => void = () => undefined;
  readonly #cold = new Promise<void>((resolve) => {
    this.#goCold = resolve;
  });

  /** @throws {InvalidConfigError} names every option that is wrong */
  constructor(app: Lovage, options: WorkerOptions = {}) {
    this.settings = workerSettings(app, options);
    const { log, clock } = this.settings;
    this.#blueprint = new Blueprint("worker", {
      steps: [...OWN_STEPS, ...app.steps.worker],
      given: [
        [settingsRef, this.settings],
        [workerBlueprintRef, () => this.#blueprint],
      ],
      log,
      clock,
      stopTimeoutMs: STEP_STOP_MS,
    });
  }

  /** Start every step. Resolves when messages are consumed and callbacks fire. @throws what the first failing step threw; nothing is left running */
  async start(): Promise<void> {
    this.settings.app.useLog(this.settings.log);
    try {
      await this.#blueprint.boot();
    } catch (error) {
      await this.settings.app.close();
      throw error;
    }
    this.settings.log.info(`${this.settings.hostname} ready.`);
  }

  /** Resolves with the reason when the worker cannot go on. */
  async failed(): Promise<Error> {
    return Promise.race([this.#blueprint.part(poolStep).broken, this.#blueprint.part(consumerStep).failed]);
  }

  /** State of each step in the order of their start; those of the Consumer blueprint while it has a connection. */
  get states(): {
    readonly worker: ReadonlyMap<string, StepState>;
    readonly consumer?: ReadonlyMap<string, StepState>;
  } {
    const worker = this.#blueprint.states;
    if (worker.get(consumerStep.name) !== "running") return { worker };
    const consumer = this.#blueprint.part(consumerStep).blueprint?.states;
    return consumer === undefined ? { worker } : { worker, consumer };
  }

  /**
   * Consume this queue too, from now on: Celery's `add_consumer`. A name that `taskQueues` has, or makes; or a description of a queue.
   * @returns false: it was consumed already
   * @throws {InvalidInputError} there is no such queue, and none is to be made
   * @throws {QueueRefusedError} it can neither be declared nor used
   */
  addConsumer(queue: string | QueueOptions): Promise<boolean> {
    const { app, consumed } = this.settings;
    return consumed.add(typeof queue === "string" ? app.queues.get(queue) : app.queues.add(queue));
  }

  /** Consume this queue no more: Celery's `cancel_consumer`. What was delivered is still dealt with. @returns false: it was not consumed */
  cancelConsumer(queue: string): Promise<boolean> {
    return this.settings.consumed.cancel(queue);
  }

  /** In memory, for code that lives beside the worker. */
  get timer(): Timer {
    return this.#blueprint.part(timerStep);
  }

  /** Order of the steps, both blueprints. */
  static graph(app: Lovage, options: WorkerOptions, form: "text" | "dot"): string {
    const worker = new Worker(app, options);
    const consumer = new Blueprint("consumer", {
      steps: consumerSteps(app.steps.consumer),
      outer: worker.#blueprint,
      log: worker.settings.log,
      clock: worker.settings.clock,
      stopTimeoutMs: 0,
    });
    return `${worker.#blueprint.graph(form)}\n${consumer.graph(form)}`;
  }

  /**
   * Warm: take nothing more in, let what runs finish. Soft: the same, for `workerSoftShutdownTimeout`, then cold. Cold: end what runs
   * now, give back what can be given back; over within 2 s, also with store and broker gone. The harder stop overtakes; twice is once.
   */
  stop(how: "warm" | "soft" | "cold" = "warm"): Promise<void> {
    this.#stopping ??= this.#stop();
    if (how === "soft") this.#goSoft();
    if (how === "cold") this.#goCold();
    return this.#stopping;
  }

  #goSoft(): void {
    const { clock, log, config } = this.settings;
    const { workerSoftShutdownTimeoutMs: softMs } = config;
    this.#patience ??= clock.timeout(() => {
      log.warn(`What runs has not ended within ${softMs / 1_000} s: stopping cold`);
      this.#goCold();
    }, softMs);
  }

  async #stop(): Promise<void> {
    const { app, log, clock } = this.settings;
    const warm = this.#blueprint
      .stop()
      .then(() => app.close())
      .finally(() => this.#patience?.cancel());
    const cold = this.#cold.then(async () => {
      this.#endRuns();
      await withDeadline(warm, COLD_STOP_MS, clock, "the cold stop");
    });
    try {
      await Promise.race([warm, cold]);
    } catch (error) {
      log.error(`Stopped with work undone: ${messageOf(error)}`, { error: toError(error) });
    }
  }

  /** Kill what runs. Its outcomes come at once, are settled as lost, and let the warm stop in progress go on. */
  #endRuns(): void {
    try {
      const { intake, firing, parking } = this.#blueprint.part(requestsStep);
      parking.giveUp();
      for (const request of intake.requests) request.end(COLD_STOP, 0);
      firing.abortAll(COLD_STOP, 0);
    } catch {
      // Not booted that far: nothing runs.
    }
  }
}
