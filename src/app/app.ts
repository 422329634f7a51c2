/**
 * The app: what users write against. It names the backends, holds the tasks and the bootsteps, sends messages, and
 * schedules callbacks. Nothing is opened before it is used, so importing a tasks file costs no connection.
 */
import { StepSet } from "../blueprint/step-set.ts";
import { type Clock, systemClock } from "../kit/clock.ts";
import { InvalidInputError } from "../kit/errors.ts";
import { type Logger, silentLogger } from "../kit/log.ts";
import { textOf } from "../kit/printable.ts";
import type { Ask } from "../pool/asks.ts";
import { ContentFormats } from "../protocol/content.ts";
import { ScheduleEvents } from "../schedule/events.ts";
import { annotated } from "./annotations.ts";
import { AsyncResult, type ResultSource, resultFromTuple } from "./async-result.ts";
import { Backends } from "./backends.ts";
import { type Config, readConfig, type SettingsInput } from "./config.ts";
import { currentTaskOrNone } from "./context.ts";
import { Control } from "./control.ts";
import { Gateway } from "./gateway.ts";
import { Mailing } from "./mailing.ts";
import { placeOf, sendsResults } from "./open.ts";
import { Producer } from "./producer.ts";
import { Publishing } from "./publishing.ts";
import { AppQuarantine } from "./quarantined.ts";
import { Queues } from "./queues.ts";
import { TaskRegistry } from "./registry.ts";
import { type AnyResult, ResultSet } from "./result-set.ts";
import { Revoking } from "./revoking.ts";
import { Schedule } from "./schedule.ts";
import { authOf } from "./security.ts";
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
  /** Orders to workers: revoke, ping, any of Celery's commands. */
  readonly control: Control;
  /** Messages that could not be run. */
  readonly quarantine: AppQuarantine;
  /** Bootsteps of your own: `worker` steps live as long as the worker, `consumer` steps as long as its connection. */
  readonly steps = { worker: new StepSet(), consumer: new StepSet() };
  readonly [APP_MARK] = true;
  readonly #settings: SettingsInput;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #clock: Clock;
  #log: Logger;
  #config: Config;
  #backends: Backends | undefined;
  #queues: Queues | undefined;
  #formats: ContentFormats | undefined;
  #gateway: Gateway | undefined;
  readonly #resultSource: ResultSource;
  #producer: Producer | undefined;
  #ask: Ask | undefined;
  readonly #warned = new Set<string>();

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
    this.quarantine = new AppQuarantine({
      open: () => this.backends.quarantine(),
      producer: () => this.producer,
    });
    this.#resultSource = {
      ask: (op, params) => this.ask(op, params),
      clock: this.#clock,
      config: () => this.#config,
    };
    this.control = new Control({
      ...this.#resultSource,
      log: () => this.#log,
      place: () => placeOf(this.#config),
    });
    this.schedule = new Schedule({
      ...this.#resultSource,
      events: new ScheduleEvents(() => this.#log),
      address: (signature, options) => this.#address(signature, options),
    });
    this.#tellWarnings();
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
    const task = new Task<never[]>(this, name, annotated(name, options, this.#config.taskAnnotations), handler);
    this.registry.add(task);
    return task;
  }

  /** A call of any task, registered here or not: of a Python worker's, say. */
  signature(task: string, options: SignatureOptions = {}): Signature {
    return new Signature(this, task, options);
  }

  /** Send a signature; `options` win over its own. Resolves when the broker has the message. */
  async send(signature: Signature, options: ApplyOptions = {}): Promise<AsyncResult> {
    const { message, to, content } = this.#address(signature, { ...signature.options, ...options });
    if (message.expiresMs !== undefined && message.expiresMs <= this.#clock.wallMs()) {
      this.#log.warn(`Task ${message.task}[${message.id}] has expired before it is sent: it will not run`);
    }
    await this.ask("publish", { message, to, content });
    currentTaskOrNone()?.addChild([[message.id, null], null]);
    return this.result(message.id);
  }

  /** A handle on the result of a task, by its id. */
  result<Result = unknown>(id: string): AsyncResult<Result> {
    return new AsyncResult<Result>(id, this.#resultSource);
  }

  /**
   * Handles on the results of several tasks, waited for together: any number, with one subscription.
   *
   * ```ts
   * const values = await app.results(ids).get({ timeout: "1m" });
   * ```
   */
  results<Result = unknown>(of: Iterable<string | AnyResult<Result>>): ResultSet<Result> {
    const each = (one: string | AnyResult<Result>) => (typeof one === "string" ? this.result<Result>(one) : one);
    return new ResultSet<Result>([...of].map(each), this.#resultSource);
  }

  /** The handle that a tuple stands for: Celery's `result_from_tuple`. @throws {InvalidInputError} it is none */
  resultFromTuple(tuple: unknown): AnyResult {
    const result = resultFromTuple(tuple, this.#resultSource);
    if (result !== undefined) return result;
    throw new InvalidInputError(
      `a result's tuple is [[id, parent], null], or of a group [[id, parent], [tuple, …]], not ${textOf(tuple, 200)}`,
    );
  }

  /** Ask the gateway: the app's own, or the worker's when this is a pool process. */
  readonly ask: Ask = (op, params) => (this.#ask ?? this.gateway.ask)(op, params);

  /** The app's backends, opened on first use. */
  get backends(): Backends {
    this.#backends ??= new Backends(this.#config, this.#log, this.#clock, this.formats);
    return this.#backends;
  }

  /** The app's queues; of a worker and of those who send. */
  get queues(): Queues {
    this.#queues ??= new Queues(this.#config);
    return this.#queues;
  }

  /** How bodies are written and read. */
  get formats(): ContentFormats {
    this.#formats ??= new ContentFormats(() => authOf(this.#config, this.#clock, this.formats));
    return this.#formats;
  }

  get gateway(): Gateway {
    this.#gateway ??= new Gateway({
      backends: this.backends,
      publishing: new Publishing({
        config: this.#config,
        queues: this.queues,
        producer: this.producer,
        broker: () => this.backends.broker(),
        clock: this.#clock,
      }),
      revoking: new Revoking({
        store: () => this.backends.store(),
        results: this.#config.backend === undefined ? undefined : () => this.backends.results(),
        resultExpiresMs: this.#config.resultExpiresMs,
        clock: this.#clock,
      }),
      mailing: new Mailing({
        broker: () => this.backends.broker(),
        producer: this.producer,
        settings: this.#config,
        clock: this.#clock,
        log: this.#log,
      }),
      clock: this.#clock,
      events: this.schedule.events,
      resultExpiresMs: this.#config.resultExpiresMs,
      protocol: this.#config.taskProtocol,
      formats: this.formats,
      serializer: this.#config.taskSerializer,
      compression: this.#config.taskCompression,
      place: placeOf(this.#config),
      resultsAreSent: sendsResults(this.#config),
    });
    return this.#gateway;
  }

  get producer(): Producer {
    this.#producer ??= new Producer({
      broker: () => this.backends.broker(),
      clock: this.#clock,
      log: this.#log,
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
    this.#tellWarnings();
  }

  /** Close what was opened. The app can be used again: it opens anew. */
  async close(): Promise<void> {
    const [gateway, producer, backends] = [this.#gateway, this.#producer, this.#backends];
    this.#producer = this.#gateway = this.#backends = undefined;
    gateway?.close();
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
    this.#queues = undefined;
    this.#formats = undefined;
  }

  /** What of the settings has no effect, once in the process; a pool's process leaves it to its worker. */
  #tellWarnings(): void {
    if (this.#log === silentLogger || this.#ask !== undefined) return;
    for (const warning of this.#config.warnings) {
      if (!this.#warned.has(warning)) this.#log.warn(warning);
      this.#warned.add(warning);
    }
  }

  #address(signature: Signature, options: ApplyOptions): Addressed {
    const taskOptions = this.registry.get(signature.task)?.options ?? {};
    const addressing = { config: this.#config, queues: this.queues, clock: this.#clock };
    return addressCall(signature, options, taskOptions, addressing);
  }
}
