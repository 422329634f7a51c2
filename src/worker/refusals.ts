/**
 * Messages that are not run, or not any more: in quarantine, on disk, and only then refused to the broker (SEMANTICS G16). What cannot be
 * kept goes back to its queue, after a pause, so that nothing is lost while the disk is full.
 */
import type { Delivery } from "../brokers/broker.ts";
import type { Clock } from "../kit/clock.ts";
import { sleep } from "../kit/deadline.ts";
import type { Logger } from "../kit/log.ts";
import type { Ending } from "../pool/pool.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { Quarantine } from "../quarantine/quarantine.ts";
import { failureOfEnding } from "./failures.ts";
import { isLoss } from "./settlement.ts";

export interface RefusalsOptions {
  readonly quarantine: Quarantine;
  readonly clock: Clock;
  readonly log: Logger;
  /** Aborted when the worker gives up what waits. */
  readonly giveUp: AbortSignal;
}

/** Why, for quarantine. */
export interface Why {
  readonly code: string;
  readonly reason: string;
  readonly task?: string | undefined;
  readonly taskId?: string | undefined;
}

const PAUSE_MS = 5_000;

export class Refusals {
  readonly #options: RefusalsOptions;

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  /** Keep it, then reject it. False: it could not be kept, and went back to its queue. */
  async refuse(delivery: Delivery, { code, reason, task, taskId }: Why): Promise<boolean> {
    const { quarantine, clock, log, giveUp } = this.#options;
    const { message, queue } = delivery;
    try {
      await quarantine.add({
        code,
        reason,
        queue,
        properties: message.properties,
        headers: message.headers,
        body: message.body,
        ...(task === undefined ? {} : { task }),
        ...(taskId === undefined ? {} : { taskId }),
      });
    } catch (error) {
      log.error("A refused message could not be kept in quarantine; it goes back to its queue", { error });
      await sleep(PAUSE_MS, clock, giveUp).catch(() => undefined);
      await delivery.requeue();
      return false;
    }
    await delivery.reject();
    return true;
  }

  /** The same of a message whose run ended in a way after which it is not acknowledged. */
  afterRun(message: TaskMessage, delivery: Delivery, ending: Ending): Promise<boolean> {
    const { task, id: taskId } = message;
    const why = failureOfEnding(ending)?.text ?? ending.kind;
    if (ending.kind === "rejected") {
      return this.refuse(delivery, {
        code: "ERR_REJECTED",
        reason: `the task rejected it: ${ending.reason}`,
        task,
        taskId,
      });
    }
    if (isLoss(ending)) {
      const reason = `it ended the process that ran it too often, the last time: ${why}`;
      return this.refuse(delivery, { code: "ERR_CRASH_LIMIT", reason, task, taskId });
    }
    return this.refuse(delivery, { code: "ERR_TASK_FAILED", reason: `its task failed: ${why}`, task, taskId });
  }
}
