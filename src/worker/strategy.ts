/** What to do with a message of each task, worked out once at boot: its options over the app's settings. */

import type { Config } from "../app/config.ts";
import type { TaskRegistry } from "../app/registry.ts";
import type { RegisteredTask } from "../app/task-options.ts";
import { parseDurationMs } from "../kit/duration.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { RequestPolicy } from "./request.ts";

export interface Strategy {
  readonly task: RegisteredTask;
  readonly policy: RequestPolicy;
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
  return {
    task,
    policy: {
      acksLate: options.acksLate ?? config.taskAcksLate,
      rejectOnWorkerLost: options.rejectOnWorkerLost ?? config.taskRejectOnWorkerLost,
    },
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
