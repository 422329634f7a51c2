/**
 * Starts a set of steps in the order of their needs and stops them in reverse. A boot that fails leaves nothing running;
 * a stop reaches every step, whatever the others do; a stopped blueprint can boot again, as the worker's Consumer does
 * on each new connection.
 */
import type { Clock } from "../kit/clock.ts";
import { withDeadline } from "../kit/deadline.ts";
import { ClosedError, ContractError, messageOf, TimeoutError, toError, UnavailableError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import { drawDot, drawText } from "./graph.ts";
import { startOrder } from "./order.ts";
import type { AnyStep, StartAnswer, Started, StepRef } from "./step.ts";

export { defineStep, given } from "./step.ts";

/** A part from outside; a function is called when the part is first needed. */
export type Given = readonly [ref: StepRef<unknown>, part: unknown];

export interface BlueprintOptions {
  readonly steps: readonly AnyStep[];
  readonly given?: readonly Given[];
  /** Where parts are looked for that are neither here nor given: they are running, and outlive this blueprint. */
  readonly outer?: Blueprint;
  readonly log: Logger;
  readonly clock: Clock;
  /** How long each step may take to stop; Infinity: as long as it takes. */
  readonly stopTimeoutMs: number;
}

export interface StopOptions {
  /** How long all steps together may take; a step that is reached later still is asked to stop, and not waited for. */
  readonly deadlineMs?: number;
}

/** `failed`: it did not start, or did not stop properly. */
export type StepState = "waiting" | "starting" | "running" | "stopping" | "stopped" | "failed";

/** A step needs a part that nobody makes. */
export class MissingStepError extends ContractError {
  readonly code = "ERR_STEP_MISSING";
  /** The part's name. */
  readonly step: string;

  constructor(blueprint: string, step: string, neededBy: readonly string[], options?: ErrorOptions) {
    const who =
      neededBy.length === 0
        ? "it was asked for"
        : `${neededBy.map((each) => JSON.stringify(each)).join(", ")} needs it`;
    super(`the ${blueprint} blueprint has no step ${JSON.stringify(step)}, and ${who}: add that step too`, options);
    this.step = step;
  }
}

/** A step did not start, for a reason that somebody must remove. The cause tells. */
export class StepFailedError extends ContractError {
  readonly code = "ERR_STEP_FAILED";
  readonly step: string;

  constructor(step: string, cause: unknown) {
    super(failure(step, cause), { cause });
    this.step = step;
  }
}

/** A step did not start because something it asked is away; the same boot may succeed later. The cause tells. */
export class StepUnavailableError extends UnavailableError {
  readonly code = "ERR_STEP_UNAVAILABLE";
  readonly step: string;

  constructor(step: string, cause: unknown) {
    super(failure(step, cause), { cause });
    this.step = step;
  }
}

interface Running {
  readonly step: AnyStep;
  readonly started: Started<unknown>;
}

export class Blueprint {
  readonly name: string;
  readonly #order: readonly AnyStep[];
  readonly #given: Map<string, unknown>;
  readonly #outer: Blueprint | undefined;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #stopTimeoutMs: number;
  readonly #states = new Map<string, StepState>();
  readonly #parts = new Map<string, unknown>();
  #running: Running[] = [];
  #state: StepState = "waiting";
  #booting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #giveUp = new AbortController();
  /** When the stop in progress must be over, monotonic. */
  #deadlineMs = Number.POSITIVE_INFINITY;
  /** Wakes whoever waits for a step, to look at the deadline again. */
  #onHurry: () => void = () => undefined;

  /** @throws {ContractError} a step without a proper name, two of one name, or a cycle; all named */
  constructor(name: string, options: BlueprintOptions) {
    this.name = name;
    this.#order = startOrder(name, options.steps);
    this.#given = new Map((options.given ?? []).map(([ref, part]) => [ref.name, part]));
    this.#outer = options.outer;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#stopTimeoutMs = options.stopTimeoutMs;
    for (const step of this.#order) this.#states.set(step.name, "waiting");
  }

  get state(): StepState {
    return this.#state;
  }

  /** State of each step, in the order of their start. */
  get states(): ReadonlyMap<string, StepState> {
    return new Map(this.#states);
  }

  /**
   * Start every step after what it needs. While a boot is under way, or done, this is the same boot.
   *
   * @throws {MissingStepError} a need is nowhere to be found; nothing was started
   * @throws {StepFailedError | StepUnavailableError} a step did not start; those before it were stopped
   * @throws {ClosedError} `stop` was called meanwhile, and those that had started were stopped
   */
  boot(): Promise<void> {
    if (this.#stopping !== undefined) {
      return Promise.reject(new ClosedError(`the ${this.name} blueprint is being stopped: boot it again afterwards`));
    }
    this.#booting ??= this.#boot();
    return this.#booting;
  }

  /**
   * Stop what runs, in reverse; give a boot up. What a step throws is logged, and the others are stopped all the same.
   * Never rejects. Twice is once; a second call can only bring the deadline forward.
   */
  stop(options: StopOptions = {}): Promise<void> {
    const deadlineMs = this.#clock.monoMs() + (options.deadlineMs ?? Number.POSITIVE_INFINITY);
    this.#deadlineMs = Math.min(this.#deadlineMs, deadlineMs);
    this.#onHurry();
    this.#stopping ??= this.#stop().finally(() => {
      this.#stopping = undefined;
      this.#deadlineMs = Number.POSITIVE_INFINITY;
    });
    return this.#stopping;
  }

  /**
   * The part of a running step, a given part, or one of the outer blueprint.
   *
   * @throws {ClosedError} the step does not run
   * @throws {MissingStepError} there is no such part
   */
  part<Part>(ref: StepRef<Part>): Part {
    const { name } = ref;
    // The maps are filled by name; that name and type belong together is the promise of the one who made the reference.
    if (this.#parts.has(name)) return this.#parts.get(name) as Part;
    if (this.#states.has(name)) {
      throw new ClosedError(`step ${JSON.stringify(name)} of the ${this.name} blueprint is not running`);
    }
    if (this.#given.has(name)) return this.#givenPart(name) as Part;
    if (this.#outer !== undefined) return this.#outer.part(ref);
    throw new MissingStepError(this.name, name, []);
  }

  /** True when `part` knows the name, running or not. */
  has(ref: StepRef<unknown>): boolean {
    const { name } = ref;
    return this.#states.has(name) || this.#given.has(name) || (this.#outer?.has(ref) ?? false);
  }

  /** The steps in order with what they need, for people or for Graphviz. */
  graph(form: "text" | "dot"): string {
    return form === "dot" ? drawDot(this.name, this.#order) : drawText(this.name, this.#order);
  }

  async #boot(): Promise<void> {
    this.#giveUp = new AbortController();
    this.#state = "starting";
    for (const step of this.#order) this.#states.set(step.name, "waiting");
    try {
      this.#checkNeeds();
      for (const step of this.#order) await this.#start(step);
      // A stop may have come between the end of the last start and here.
      this.#giveUp.signal.throwIfAborted();
      this.#state = "running";
    } catch (error) {
      const gaveUp = this.#giveUp.signal.aborted;
      this.#state = "stopping";
      await this.#unwind();
      this.#state = gaveUp ? "stopped" : "failed";
      this.#booting = undefined;
      throw error;
    }
  }

  async #start(step: AnyStep): Promise<void> {
    const { signal } = this.#giveUp;
    signal.throwIfAborted();
    this.#states.set(step.name, "starting");
    this.#log.debug(`${this.name}: starting ${step.name}`);
    const starting = invoke(() => step.start(this.#partsFor(step), signal));
    try {
      const started = (await Promise.race([starting, rejectedBy(signal)])) ?? {};
      signal.throwIfAborted();
      this.#admit(step, started);
    } catch (error) {
      if (signal.aborted) {
        await this.#awaitGivenUp(step, starting);
        throw signal.reason;
      }
      this.#states.set(step.name, "failed");
      throw error instanceof UnavailableError
        ? new StepUnavailableError(step.name, error)
        : new StepFailedError(step.name, error);
    }
  }

  /** The boot is given up while this step starts: it is told by its signal, and what it started all the same is undone. */
  async #awaitGivenUp(step: AnyStep, starting: Promise<StartAnswer<unknown>>): Promise<void> {
    if (await this.#settles(starting, step)) {
      await starting.then(
        (started) => this.#admit(step, started ?? {}),
        () => this.#states.set(step.name, "failed"), // it gave up, as it was asked to
      );
      return;
    }
    this.#states.set(step.name, "failed");
    this.#log.error(`${this.name}: ${step.name} did not give its start up in time`);
    starting
      .then((started) => started?.stop?.(AbortSignal.abort()))
      .catch((error: unknown) => this.#log.error(`${this.name}: ${step.name} gave its start up late`, { error }));
  }

  #admit(step: AnyStep, started: Started<unknown>): void {
    this.#running.push({ step, started });
    this.#parts.set(step.name, started.part);
    this.#states.set(step.name, "running");
  }

  async #stop(): Promise<void> {
    if (this.#state === "starting" || this.#state === "stopping") {
      this.#giveUp.abort(new ClosedError(`the boot of the ${this.name} blueprint was given up: it was stopped`));
      // The boot undoes itself.
      await this.#booting?.catch(() => undefined);
      return;
    }
    if (this.#state !== "running") return;
    this.#state = "stopping";
    await this.#unwind();
    this.#state = "stopped";
    this.#booting = undefined;
  }

  async #unwind(): Promise<void> {
    for (let last = this.#running.at(-1); last !== undefined; last = this.#running.at(-1)) {
      await this.#stopStep(last);
      this.#running.pop();
      this.#parts.delete(last.step.name);
    }
  }

  async #stopStep({ step, started }: Running): Promise<void> {
    this.#states.set(step.name, "stopping");
    this.#log.debug(`${this.name}: stopping ${step.name}`);
    const controller = new AbortController();
    const late = new TimeoutError(`the time to stop ${JSON.stringify(step.name)} has passed`);
    if (this.#deadlineMs <= this.#clock.monoMs()) controller.abort(late);
    const stopping = invoke(() => started.stop?.(controller.signal));
    const error = (await this.#settles(stopping, step))
      ? await stopping.then(
          () => undefined,
          (thrown: unknown) => toError(thrown),
        )
      : late;
    if (error === late) controller.abort(late);
    this.#states.set(step.name, error === undefined ? "stopped" : "failed");
    if (error !== undefined) this.#log.error(`${this.name}: ${step.name} did not stop properly`, { error });
  }

  /** Wait for the end of it, good or bad, as long as a step has to stop; false when that time is over. */
  async #settles(work: Promise<unknown>, step: AnyStep): Promise<boolean> {
    const ended = work.then(
      () => true,
      () => true,
    );
    const stepDeadlineMs = this.#clock.monoMs() + (step.stopTimeoutMs ?? this.#stopTimeoutMs);
    for (;;) {
      const hurried = new Promise<undefined>((resolve) => {
        this.#onHurry = () => resolve(undefined);
      });
      const leftMs = Math.max(0, Math.min(stepDeadlineMs, this.#deadlineMs) - this.#clock.monoMs());
      const timed = withDeadline(ended, leftMs, this.#clock, "the step").catch(() => false);
      const answer = await Promise.race([timed, hurried]);
      if (answer !== undefined) return answer;
    }
  }

  #partsFor(step: AnyStep): Record<string, unknown> {
    const parts: Record<string, unknown> = {};
    for (const [key, ref] of Object.entries(step.needs ?? {})) parts[key] = this.part(ref);
    return parts;
  }

  #givenPart(name: string): unknown {
    const part = this.#given.get(name);
    if (typeof part !== "function") return part;
    const made: unknown = part();
    this.#given.set(name, made);
    return made;
  }

  #checkNeeds(): void {
    for (const step of this.#order) {
      for (const ref of Object.values(step.needs ?? {})) {
        if (this.has(ref)) continue;
        const neededBy = this.#order.filter((each) =>
          Object.values(each.needs ?? {}).some(({ name }) => name === ref.name),
        );
        throw new MissingStepError(
          this.name,
          ref.name,
          neededBy.map((each) => each.name),
        );
      }
    }
  }
}

/** The answer of `fn` as a promise, also when it throws. */
async function invoke<T>(fn: () => T | Promise<T>): Promise<T> {
  return fn();
}

function rejectedBy(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function failure(step: string, cause: unknown): string {
  return `step ${JSON.stringify(step)} did not start: ${messageOf(cause)}`;
}
