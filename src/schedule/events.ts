/**
 * What happens to callbacks, as events of this process: what it changes itself, and what it runs. Another process's changes are its own
 * events; a child's are its worker's, which makes them. What must be known for certain is read from the store.
 *
 * Free while nobody listens: an emitter asks for the listeners of a name, and finds null.
 *
 * ```ts
 * events.listening("started")?.({ id, … });   // the payload is not even built
 * ```
 */
import { InvalidInputError, toError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { CallbackState, EndState, RunEnd } from "./callback.ts";

/** What every event of one callback tells. Times are ms since 1970, UTC. */
export interface CallbackEvent {
  readonly id: string;
  readonly key?: string;
  /** Name of the task. */
  readonly task: string;
  readonly queue: string;
  readonly tags: readonly string[];
  /** When it is, or was, due. */
  readonly dueMs: number;
  /** Id of the recurrence whose occurrence it is. */
  readonly recurrence?: string;
}

/** It waits from now on, with the call and the due time that stand here. */
export interface PutEvent extends Omit<CallbackEvent, "recurrence"> {
  /**
   * "added": a new one. "replaced": its call and due time are others now. "recurs": a recurrence has a next occurrence; then `id` and
   * `key` are the recurrence's (the id begins with "r-"), and `dueMs` is the nominal time, before its jitter.
   */
  readonly change: "added" | "replaced" | "recurs";
}

/** It was moved. */
export interface MovedEvent {
  readonly change: "moved";
  readonly id: string;
  readonly dueMs: number;
}

export interface StartedEvent extends CallbackEvent {
  /** How long after `dueMs` it started, ms. */
  readonly lateMs: number;
  /** 1 for the first run. */
  readonly attempt: number;
  readonly token: number;
}

export interface SettledEvent extends CallbackEvent {
  readonly attempt: number;
  readonly token: number;
  /** How the run ended. */
  readonly end: RunEnd["kind"];
  /** The callback as it stands now: "waiting" when it will run again. */
  readonly state: CallbackState;
  readonly reason?: string;
}

export interface CancelledEvent {
  /**
   * Of the callback; or of a recurrence (begins with "r-"), whose occurrences that go with it are not told one by one, nor are those
   * of one that is paused or replaced.
   */
  readonly id: string;
  /** "cancelled": it never started and never will. "stopped": it ran before, and does not run again. Said again when it is cancelled twice. */
  readonly answer: "cancelled" | "stopped";
}

export interface ExpiredEvent extends CallbackEvent {
  /** "expired": never started, past `expires`. "skipped": too late for its misfire policy, or for its overlap. "failed": past `expires` while it waited to run again. */
  readonly state: EndState;
  readonly reason?: string;
}

export interface LostEvent extends CallbackEvent {
  /** What became of it: "waiting" when it will run again. */
  readonly state: EndState | "waiting";
  readonly reason?: string;
}

export interface ClockStepEvent {
  /** How far the wall clock moved against the monotonic one, ms; negative: back. */
  readonly deltaMs: number;
}

/** The events, by name. */
export interface ScheduleEventMap {
  /** A callback was added, replaced or moved by this process, or a recurrence's next occurrence was. */
  scheduled: PutEvent | MovedEvent;
  /** This worker started it. */
  started: StartedEvent;
  /** A run of this worker ended, and that is recorded. */
  settled: SettledEvent;
  /** This process took it back: by cancel, cancelAll or revoke. */
  cancelled: CancelledEvent;
  /** This worker found it too late to start. */
  expired: ExpiredEvent;
  /** This worker found that its run was lost: its child died, or another worker did, or stalled past its lease. */
  lost: LostEvent;
  /** The wall clock of this worker's machine was set. */
  "clock-step": ClockStepEvent;
}

export type ScheduleEventName = keyof ScheduleEventMap;
export type ScheduleListener<Name extends ScheduleEventName> = (event: ScheduleEventMap[Name]) => unknown;

const NAMES: Readonly<Record<ScheduleEventName, true>> = {
  scheduled: true,
  started: true,
  settled: true,
  cancelled: true,
  expired: true,
  lost: true,
  "clock-step": true,
};

export class ScheduleEvents {
  readonly #log: () => Pick<Logger, "error">;
  /** Only names that somebody listens to. */
  readonly #told = new Map<ScheduleEventName, Told>();

  /** @param log asked for when there is something to log */
  constructor(log: () => Pick<Logger, "error">) {
    this.#log = log;
  }

  /**
   * Call `listener` at each such event of this process, in the turn in which it happened: keep it short. One that throws, or
   * whose promise rejects, is logged, and harms nobody. Answers how to stop.
   *
   * ```ts
   * const off = app.schedule.events.on("started", ({ id, task, lateMs }) => histogram.record(lateMs, { task }));
   * ```
   *
   * @throws {InvalidInputError} there is no such event
   */
  on<Name extends ScheduleEventName>(name: Name, listener: ScheduleListener<Name>): () => void {
    if (!Object.hasOwn(NAMES, name)) {
      throw new InvalidInputError(
        `there is no event ${JSON.stringify(name)} of the schedule: listen to ${Object.keys(NAMES).join(", ")}`,
      );
    }
    if (typeof listener !== "function") {
      throw new InvalidInputError(`the listener of ${JSON.stringify(name)} must be a function, not ${typeof listener}`);
    }
    const told = this.#told.get(name) ?? this.#begin(name);
    // An entry of its own: the same function twice is told twice.
    const entry = (event: unknown) => listener(event as ScheduleEventMap[Name]);
    told.listeners.add(entry);
    return () => {
      told.listeners.delete(entry);
      if (told.listeners.size === 0 && this.#told.get(name) === told) this.#told.delete(name);
    };
  }

  /** Tells all who listen to `name`; null when nobody does. For emitters, which ask each time. */
  listening<Name extends ScheduleEventName>(name: Name): ((event: ScheduleEventMap[Name]) => void) | null {
    return this.#told.get(name)?.tell ?? null;
  }

  #begin(name: ScheduleEventName): Told {
    const listeners: Told["listeners"] = new Set();
    const tell = (event: unknown) => {
      // A copy: a listener may stop listening, or start another.
      for (const listener of [...listeners]) this.#call(name, listener, event);
    };
    const told = { listeners, tell };
    this.#told.set(name, told);
    return told;
  }

  #call(name: ScheduleEventName, listener: (event: unknown) => unknown, event: unknown): void {
    const failed = (error: unknown) => {
      this.#log().error(`A listener of the schedule's event ${name} failed`, { error: toError(error) });
    };
    try {
      const answer = listener(event);
      if (isThenable(answer)) answer.then(undefined, failed);
    } catch (error) {
      failed(error);
    }
  }
}

interface Told {
  readonly listeners: Set<(event: unknown) => unknown>;
  readonly tell: (event: unknown) => void;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
