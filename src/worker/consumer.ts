/**
 * The Consumer blueprint: what lives as long as one connection to the broker. When the connection is lost, the blueprint is
 * stopped and booted again on a new one; the worker around it, its timer and its callbacks go on.
 */

import { Blueprint, given } from "../blueprint/blueprint.ts";
import type { AnyStep } from "../blueprint/step-set.ts";
import type { Broker, BrokerConnection } from "../brokers/broker.ts";
import type { Clock } from "../kit/clock.ts";
import { sleep } from "../kit/deadline.ts";
import { ClosedError, messageOf, toError, UnavailableError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";

/** The connection that the Consumer blueprint's steps live on. */
export const connectionRef = given<BrokerConnection>("connection");

export interface ConsumerOptions {
  readonly broker: Broker;
  readonly steps: readonly AnyStep[];
  /** The worker's blueprint: its parts can be needed by consumer steps. */
  readonly outer: Blueprint;
  readonly clock: Clock;
  readonly log: Logger;
  readonly connectTimeoutMs: number;
  readonly retry: boolean;
  /** The same for the first connection. */
  readonly retryFirst: boolean;
  /** 0 = for ever. */
  readonly maxRetries: number;
  readonly name: string;
}

/** Celery's delays: 2, 4, 6 … 32 s. A lost connection is tried again at once, with jitter between workers. */
const RETRY_STEP_MS = 2_000;
const RETRY_CAP_MS = 32_000;
const RECONNECT_JITTER_MS = 250;
const STEP_STOP_MS = 10_000;

export class Consumer {
  readonly #options: ConsumerOptions;
  readonly #stopping = new AbortController();
  #blueprint: Blueprint | undefined;
  #running: Promise<void> | undefined;
  /** It had a connection. */
  #connected = false;
  #fail: (error: Error) => void = () => undefined;
  /** Resolves when it gave up for good: the worker cannot go on. */
  readonly failed = new Promise<Error>((resolve) => {
    this.#fail = resolve;
  });

  constructor(options: ConsumerOptions) {
    this.#options = options;
  }

  /** Resolves when messages are consumed for the first time. Rejects when the broker cannot be had and is not to be tried again. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#running = this.#run(resolve).then(
        () => reject(new ClosedError("the consumer was stopped before it had a connection")),
        (error) => {
          reject(error);
          this.#fail(toError(error));
        },
      );
    });
  }

  /** The blueprint as it stands, for its graph and states; undefined between connections. */
  get blueprint(): Blueprint | undefined {
    return this.#blueprint;
  }

  /** Stop the steps, then the connection. Twice is once. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(ready: () => void): Promise<void> {
    const { log, clock } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const connection = await this.#connect();
      if (connection === undefined) return;
      const blueprint = new Blueprint("consumer", {
        steps: this.#options.steps,
        given: [[connectionRef, connection]],
        outer: this.#options.outer,
        log,
        clock,
        stopTimeoutMs: STEP_STOP_MS,
      });
      this.#blueprint = blueprint;
      const lost = await this.#live(blueprint, connection, ready);
      this.#blueprint = undefined;
      if (lost === undefined) return;
      log.warn(`consumer: Connection to broker lost: ${messageOf(lost)}. Trying to re-establish the connection...`);
      await sleep(Math.random() * RECONNECT_JITTER_MS, clock, signal).catch(() => undefined);
    }
  }

  /** Boot on the connection and wait for its end. Answers why it was lost; undefined when we stop. */
  async #live(blueprint: Blueprint, connection: BrokerConnection, ready: () => void): Promise<Error | undefined> {
    const { signal } = this.#stopping;
    let lost: Error | undefined;
    try {
      await blueprint.boot();
      ready();
      lost = await Promise.race([connection.closed, aborted(signal)]);
    } catch (error) {
      // A step that fails on a dying connection is the loss of the connection; any other failure is the step's own.
      const gone = await Promise.race([connection.closed, Promise.resolve(undefined)]);
      if (gone === undefined && !(causeOf(error) instanceof UnavailableError)) {
        await connection.close();
        throw error;
      }
      lost = gone ?? (error as Error);
    }
    await blueprint.stop();
    await connection.close();
    return signal.aborted ? undefined : (lost ?? new Error("the broker closed the connection"));
  }

  async #connect(): Promise<BrokerConnection | undefined> {
    const { broker, log, clock, connectTimeoutMs, maxRetries, name } = this.#options;
    const retry = this.#connected ? this.#options.retry : this.#options.retryFirst;
    const { signal } = this.#stopping;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        const connection = await broker.connect({ name, timeoutMs: connectTimeoutMs });
        this.#connected = true;
        log.info(`Connected to ${broker.url}`);
        return connection;
      } catch (error) {
        if (!retry || !(error instanceof UnavailableError) || (maxRetries > 0 && attempt > maxRetries)) throw error;
        const delayMs = Math.min(RETRY_STEP_MS * attempt, RETRY_CAP_MS);
        const of = maxRetries > 0 ? `${attempt}/${maxRetries}` : `${attempt}`;
        log.error(
          `consumer: Cannot connect to ${broker.url}: ${messageOf(error)}. Trying again in ${(delayMs / 1_000).toFixed(2)} seconds... (${of})`,
        );
        await sleep(delayMs, clock, signal).catch(() => undefined);
      }
    }
    return undefined;
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

function causeOf(error: unknown): unknown {
  return error instanceof Error && error.cause !== undefined ? error.cause : error;
}
