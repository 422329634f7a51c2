/**
 * The app: what users write against. It names the backends, holds the tasks and the bootsteps, sends messages, and
 * schedules callbacks. Nothing is opened before it is used, so importing a tasks file costs no connection.
 */
import { StepSet } from "../blueprint/step-set.ts";
import { type Clock, systemClock } from "../kit/clock.ts";
import { InvalidInputError } from "../kit/errors.ts";
import { type Logger, silentLogger } from "../kit/log.ts";
import type { Ask } from "../pool/asks.ts";
import { ScheduleEvents } from "../schedule/events.ts";
import { AsyncResult } from "./async-result.ts";
import { Backends } from "./backends.ts";
import { type Config, readConfig, type SettingsInput } from "./config.ts";
import { Gateway } from "./gateway.ts";
import { placeOf } from "./open.ts";
import { Producer } from "./producer.ts";
import { TaskRegistry } from "./registry.ts";
import { Schedule } from "./schedule.ts";
import { type Addressed, type ApplyOptions, addressCall } from "./send.ts";
import { Signature, type SignatureOptions } from "./signature.ts";
import { type AnyHandler, type ArgsOf, type ResultOf, Task } from "./task.ts";
import type { TaskOptions } from "./task-options.ts";

/** Marks an app also when two copies of the package are loaded. */
export const APP_MARK: unique symbol = Symbol.for("lovage.app");

/** What an app is made with besides its settings; for tests and embedding. */
export interface AppParts {
  readonly clock?: Clock;
  readonly log?: Logger;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const TASK_NAME_LIMIT = 255;

export class Lovage {
  readonly name: string;
  /** Every task, by name. */
  readonly registry = new TaskRegistry<Task<never[]>>();
  /** Durable callbacks. */
  readonly schedule: Schedule;
  /** Bootsteps of your own: `worker` steps live as long as the worker, `consumer` steps as long as its connection. */
  readonly steps = { worker: new StepSet(), consumer: new StepSet() };
  readonly [APP_MARK] = true;
  readonly #settings: SettingsInput;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #clock: Clock;
  #log: Logger;
  #config: Config;
  #backends: Backends | undefined;
  #gateway: Gateway | undefined;
  #producer: Producer | undefined;
  #ask: Ask | undefined;

  /**
   * @param name of the app; shown, and prefixed to nothing
   * @throws {InvalidConfigError} names every setting that is wrong
   */
  constructor(name: string, settings: SettingsInput = {}, parts: AppParts = {}) {
    if (typeof name !== "string" || name === "") throw new InvalidInputError('an app needs a name: new Lovage("shop")');
    this.name = name;
    this.#settings = settings;
    this.#env = parts.env ?? process.env;
    this.#clock = parts.clock ?? systemClock;
    this.#log = parts.log ?? silentLogger;
    this.#config = readConfig(settings, this.#env);
    this.schedule = new Schedule({
      ask: (op, params) => this.ask(op, params),
      clock: this.#clock,
      config: () => this.#config,
      events: new ScheduleEvents(() => this.#log),
      address: (signature, options) => this.#address(signature, options),
    });
  }

  get config(): Config {
    return this.#config;
  }

  get clock(): Clock {
    return this.#clock;
  }

  get log(): Logger {
    return this.#log;
  }

  /** Register a task. @throws {DuplicateTaskError} the name is taken */
  task<H extends object>(name: string, handler: H & AnyHandler): Task<ArgsOf<H>, ResultOf<H>>;
  task<H extends object>(name: string, options: TaskOptions, handler: H & AnyHandler): Task<ArgsOf<H>, ResultOf<H>>;
  task(name: string, optionsOrHandler: TaskOptions | AnyHandler, maybeHandler?: AnyHandler): Task<never[]> {
    const [options, handler] =
      typeof optionsOrHandler === "function" ? [{}, optionsOrHandler] : [optionsOrHandler, maybeHandler];
    if (typeof name !== "string" || name === "" || name.length > TASK_NAME_LIMIT) {
      throw new InvalidInputError(
        `a task's name is a text of 1 to ${TASK_NAME_LIMIT} characters, not ${JSON.stringify(name)}`,
      );
    }
    if (typeof handler !== "function") {
      throw new InvalidInputError(`task ${JSON.stringify(name)} has no handler: app.task(name, options?, handler)`);
    }
    const task = new Task<never[]>(this, name, options, handler);
    this.registry.add(task);
    return task;
  }

  /** A call of any task, registered here or not: of a Python worker's, say. */
  signature(task: string, options: SignatureOptions = {}): Signature {
    return new Signature(this, task, options);
  }

  /** Send a signature; `options` win over its own. Resolves when the broker has the message. */
  async send(signature: Signature, options: ApplyOptions = {}): Promise<AsyncResult> {
    const { message, queue } = this.#address(signature, { ...signature.options, ...options });
    await this.ask("publish", { message, to: { queue } });
    return this.result(message.id);
  }

  /** A handle on the result of a task, by its id. */
  result<Result = unknown>(id: string): AsyncResult<Result> {
    return new AsyncResult<Result>(id, {
      ask: (op, params) => this.ask(op, params),
      clock: this.#clock,
      config: () => this.#config,
    });
  }

  /** Ask the gateway: the app's own, or the worker's when this is a pool process. */
  readonly ask: Ask = (op, params) => (this.#ask ?? this.gateway.ask)(op, params);

  /** The app's backends, opened on first use. */
  get backends(): Backends {
    this.#backends ??= new Backends(this.#config, this.#log);
    return this.#backends;
  }

  get gateway(): Gateway {
    this.#gateway ??= new Gateway({
      backends: this.backends,
      producer: this.producer,
      clock: this.#clock,
      events: this.schedule.events,
      resultExpiresMs: this.#config.resultExpiresMs,
      place: placeOf(this.#config),
    });
    return this.#gateway;
  }

  get producer(): Producer {
    this.#producer ??= new Producer({
      broker: () => this.backends.broker(),
      clock: this.#clock,
      name: `lovage client ${this.name}`,
      connectTimeoutMs: this.#config.brokerConnectionTimeoutMs,
    });
    return this.#producer;
  }

  /** From now on every question goes to `ask`: what a pool process does, which opens nothing itself. */
  useAsk(ask: Ask): void {
    this.#ask = ask;
  }

  /** Where the app logs. A program's choice, not a library's: silent until it is made. */
  useLog(log: Logger): void {
    this.#log = log;
  }

  /** Close what was opened. The app can be used again: it opens anew. */
  async close(): Promise<void> {
    const [producer, backends] = [this.#producer, this.#backends];
    this.#producer = this.#gateway = this.#backends = undefined;
    await producer?.close();
    await backends?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The same settings with some changed, as the command line does; before anything is opened. Undefined changes nothing. */
  reconfigure(changes: SettingsInput): void {
    const given = Object.entries(changes).filter(([, value]) => value !== undefined);
    this.#config = readConfig({ ...this.#settings, ...Object.fromEntries(given) }, this.#env);
  }

  #address(signature: Signature, options: ApplyOptions): Addressed {
    const taskOptions = this.registry.get(signature.task)?.options ?? {};
    return addressCall(signature, options, taskOptions, this.#config, this.#clock);
  }
}
