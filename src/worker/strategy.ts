/** What to do with a message of each task, worked out once at boot: its options over the app's settings. */

import type { Config } from "../app/config.ts";
import { startsPerSecond } from "../app/rate.ts";
import type { TaskRegistry } from "../app/registry.ts";
import type { RegisteredTask } from "../app/task-options.ts";
import { parseDurationMs } from "../kit/duration.ts";
import type { TaskMessage } from "../protocol/message.ts";
import { type AckPolicy, ackPolicyOf } from "./settlement.ts";

export interface Strategy {
  readonly task: RegisteredTask;
  readonly policy: AckPolicy;
  /** Starts a second that are allowed; undefined: any number. */
  readonly perSecond: number | undefined;
  /** The message's own limits, else the task's, else the worker's (PROTOCOL 12.2). */
  withLimits(message: TaskMessage): TaskMessage;
}

export class Strategies {
  readonly #strategies = new Map<string, Strategy>();

  constructor(registry: TaskRegistry<RegisteredTask>, config: Config) {
    for (const name of registry.names()) {
      const task = registry.get(name);
      if (task !== undefined) this.#strategies.set(name, strategyOf(task, config));
    }
  }

  get tasks(): IterableIterator<[string, Strategy]> {
    return this.#strategies.entries();
  }

  /** Undefined: the task is not registered here. */
  get(task: string): Strategy | undefined {
    return this.#strategies.get(task);
  }
}

function strategyOf(task: RegisteredTask, config: Config): Strategy {
  const { options } = task;
  const softLimitMs =
    options.softTimeLimit === undefined
      ? config.taskSoftTimeLimitMs
      : parseDurationMs(options.softTimeLimit, "softTimeLimit");
  const hardLimitMs =
    options.timeLimit === undefined ? config.taskTimeLimitMs : parseDurationMs(options.timeLimit, "timeLimit");
  const rate = options.rateLimit === undefined ? config.taskDefaultRateLimit : options.rateLimit;
  return {
    task,
    policy: ackPolicyOf(options, config),
    perSecond: config.workerDisableRateLimits ? undefined : startsPerSecond(rate, `rateLimit of task ${task.name}`),
    withLimits(message) {
      const soft = message.softLimitMs ?? softLimitMs;
      const hard = message.hardLimitMs ?? hardLimitMs;
      if (soft === message.softLimitMs && hard === message.hardLimitMs) return message;
      return {
        ...message,
        ...(soft === undefined ? {} : { softLimitMs: soft }),
        ...(hard === undefined ? {} : { hardLimitMs: hard }),
      };
    },
  };
}
