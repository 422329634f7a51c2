/** What a task is, apart from its code: Celery's task attributes in camelCase, and what only Lovage has. */
import type { Duration } from "../kit/duration.ts";
import type { RetryOptions } from "./context.ts";

/** The part of Standard Schema (https://standardschema.dev) that Lovage uses, so that any validator fits. */
export interface StandardSchema<Output = unknown> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: ReadonlyArray<{ readonly message: string; readonly path?: ReadonlyArray<unknown> | undefined }>;
    };

export type ErrorClass = abstract new (...args: never[]) => Error;

/** Durations: a number is seconds, a string carries its unit ("1500ms", "5m", "PT1H"). */
export interface TaskOptions {
  /** Queue that its messages go to. Default: what `taskRoutes` say, else the app's `taskDefaultQueue` ("celery"). */
  readonly queue?: string;
  /** With `routingKey`: where its messages are published, instead of the queue's own exchange. */
  readonly exchange?: string;
  /** Default: the queue's. Of no effect on a queue with a direct exchange, unless `exchange` is given too. */
  readonly routingKey?: string;
  /** Whether its messages survive a restart of the broker (2, "persistent") or not. Default: the app's `taskDefaultDeliveryMode`. */
  readonly deliveryMode?: 1 | 2 | "persistent" | "transient";
  /** 0 … 255; on RabbitMQ higher is sooner. Celery: `priority`. */
  readonly priority?: number;
  /** How bodies of its messages are written: "json", "yaml", "msgpack". Default: `taskSerializer`. Celery: `serializer`. */
  readonly serializer?: string;
  /** "zlib", "brotli", "zstd". Default: `taskCompression`. Celery: `compression`. */
  readonly compression?: string;
  /** Latest start after sending. Celery: `expires`. */
  readonly expires?: Duration;
  /** Retries allowed; null = no limit. Default 3. Celery: `max_retries`. */
  readonly maxRetries?: number | null;
  /** Delay of a retry that names none. Default 180 s. Celery: `default_retry_delay`. */
  readonly defaultRetryDelay?: Duration;
  /** Errors after which the task is retried by itself; true = every error. Celery: `autoretry_for`. */
  readonly autoretryFor?: true | readonly ErrorClass[];
  /** Exceptions to `autoretryFor`. Celery: `dont_autoretry_for`. */
  readonly dontAutoretryFor?: readonly ErrorClass[];
  /** Exponential delays of automatic retries: true = 1, 2, 4 … s; a number is the factor in seconds. Celery: `retry_backoff`. */
  readonly retryBackoff?: boolean | number;
  /** Cap of `retryBackoff`. Default 600 s. Celery: `retry_backoff_max`. */
  readonly retryBackoffMax?: Duration;
  /** A random delay between 0 and the computed one. Default true. Celery: `retry_jitter`. */
  readonly retryJitter?: boolean;
  /** What automatic retries are asked with: `{ maxRetries: 5, countdown: 10 }`. Celery: `retry_kwargs`. */
  readonly retryKwargs?: RetryOptions;
  /** After it the handler's `signal` is aborted with SoftTimeLimitExceeded. Celery: `soft_time_limit`. */
  readonly softTimeLimit?: Duration;
  /** After it the process that runs the task is killed (prefork). Celery: `time_limit`. */
  readonly timeLimit?: Duration;
  /** Acknowledge the message after the run, not before it. Default: the app's `taskAcksLate` (false). Celery: `acks_late`. */
  readonly acksLate?: boolean;
  /** With `acksLate`: give the message back when the child dies. Default: the app's `taskRejectOnWorkerLost` (false). Celery: `reject_on_worker_lost`. */
  readonly rejectOnWorkerLost?: boolean;
  /** With `acksLate`: false = a message whose task failed is kept in quarantine and rejected. Default: the app's. Celery: `acks_on_failure`. */
  readonly acksOnFailure?: boolean;
  /** With `acksLate`: false = a message whose task ran into its hard limit goes back. Default: the app's. Celery: `acks_on_timeout`. */
  readonly acksOnTimeout?: boolean;
  /** Both of them, where they are not said. Default: the app's `taskAcksOnFailureOrTimeout` (true). Celery: `acks_on_failure_or_timeout`. */
  readonly acksOnFailureOrTimeout?: boolean;
  /** Keep no result. Default: the app's `taskIgnoreResult` (false). Celery: `ignore_result`. */
  readonly ignoreResult?: boolean;
  /** Store failures although the result is ignored. Default: the app's `taskStoreErrorsEvenIfIgnored` (false). Celery: `store_errors_even_if_ignored`. */
  readonly storeErrorsEvenIfIgnored?: boolean;
  /** Starts of it in each worker: "10/s", "100/m", "1000/h" or a number a second; null or 0 = no limit. Default: the app's `taskDefaultRateLimit`. Celery: `rate_limit`. */
  readonly rateLimit?: string | number | null;
  /** Store STARTED when it starts. Default: the app's `taskTrackStarted` (false). Celery: `track_started`. */
  readonly trackStarted?: boolean;
  /** Errors that are part of the game: logged as INFO without a stack. Celery: `throws`. */
  readonly throws?: readonly ErrorClass[];
  /**
   * Names of the handler's parameters, in order: what keyword arguments (of Python callers) are bound to.
   * Without it, and without `input`, a keyword argument fails the task as an unexpected one does in Python.
   */
  readonly params?: readonly string[];
  /** Validates the arguments as an object by `params`' names, before the handler runs. Needs `params`. */
  readonly input?: StandardSchema;
}

/** A task as the registry and the runner see it, whatever its types. */
export interface RegisteredTask {
  readonly name: string;
  readonly options: TaskOptions;
  readonly handler: (...args: never[]) => unknown;
}
