/**
 * Answers what one child asks. The child is taken as hostile: an operation that the table does not have is refused, and a
 * task's state is stored for the task that runs there and no other. What a dead child asked is answered to nobody.
 */
import { ContractError, LostError } from "../../kit/errors.ts";
import type { Logger } from "../../kit/log.ts";
import { ASK_OPS } from "../asks.ts";
import type { AskHandler } from "../pool.ts";
import type { ChildRun } from "./child-run.ts";
import type { Channel, ToChildFrames, ToParentFrames } from "./ipc.ts";
import { toRemoteError } from "./remote-error.ts";

/** A child that asks faster than it is answered waits: its channel is not read while so much is open. */
const MAX_OPEN = 20_000;
const MAX_UNSENT_BYTES = 4 * 1024 * 1024;

/** An operation that no worker answers. */
export class UnknownAskError extends ContractError {
  readonly code = "ERR_UNKNOWN_ASK";
}

/** A state was to be stored for a task that does not run in the process that asks. */
export class NotRunningHereError extends LostError {
  readonly code = "ERR_NOT_RUNNING_HERE";
}

export interface AskFrame {
  readonly ask: number;
  readonly op: string;
  readonly params: unknown;
}

export class AskDesk {
  readonly #handler: AskHandler;
  readonly #channel: Channel<ToParentFrames, ToChildFrames>;
  readonly #log: Logger;
  readonly #maxOpen: number;
  #open = 0;
  #paused = false;
  #awaitsDrain = false;

  constructor(
    handler: AskHandler,
    channel: Channel<ToParentFrames, ToChildFrames>,
    log: Logger,
    options: { readonly maxOpen?: number } = {},
  ) {
    this.#handler = handler;
    this.#channel = channel;
    this.#log = log;
    this.#maxOpen = options.maxOpen ?? MAX_OPEN;
  }

  /** Asks that are not answered yet. */
  get open(): number {
    return this.#open;
  }

  /** @param running what the child runs, as the parent knows it */
  take(frame: AskFrame, running: ChildRun | undefined): void {
    this.#open += 1;
    this.#holdBack();
    void this.#answer(frame, running).finally(() => {
      this.#open -= 1;
      this.#letIn();
    });
  }

  async #answer({ ask, op, params }: AskFrame, running: ChildRun | undefined): Promise<void> {
    try {
      this.#check(op, params, running);
      const value = (await this.#handler(op, params)) ?? null;
      this.#channel.send({ kind: "answer", ask, value });
    } catch (error) {
      this.#refuse(ask, error);
    }
  }

  #refuse(ask: number, error: unknown): void {
    try {
      this.#channel.send({ kind: "refusal", ask, error: toRemoteError(error) });
    } catch (tooLong) {
      this.#channel.send({ kind: "refusal", ask, error: toRemoteError(tooLong) });
    }
  }

  #check(op: string, params: unknown, running: ChildRun | undefined): void {
    if (!ASK_OPS.has(op)) {
      this.#log.warn("a pool process asked for what no worker answers; refused", { op: op.slice(0, 80) });
      throw new UnknownAskError(`a task asked for ${JSON.stringify(op.slice(0, 80))}, which no worker answers`);
    }
    if (op !== "result.store") return;
    const taskId = storedTaskId(params);
    if (taskId !== undefined && taskId === running?.job.message.id) return;
    this.#log.warn("a pool process asked to store the state of a task that it does not run; refused", { id: taskId });
    throw new NotRunningHereError(
      `the state of task ${JSON.stringify(taskId ?? null)} was not stored: it does not run here any more; await updateState() before the handler ends`,
    );
  }

  #holdBack(): void {
    if (this.#paused || (this.#open < this.#maxOpen && !this.#choked)) return;
    this.#paused = true;
    this.#channel.pause();
    this.#letIn();
  }

  #letIn(): void {
    if (!this.#paused || this.#open >= this.#maxOpen) return;
    if (this.#choked) {
      if (this.#awaitsDrain) return;
      this.#awaitsDrain = true;
      this.#channel.onceDrained(() => {
        this.#awaitsDrain = false;
        this.#letIn();
      });
      return;
    }
    this.#paused = false;
    this.#channel.resume();
  }

  get #choked(): boolean {
    return this.#channel.unsentBytes > MAX_UNSENT_BYTES;
  }
}

function storedTaskId(params: unknown): string | undefined {
  if (typeof params !== "object" || params === null) return undefined;
  const { document } = params as { document?: unknown };
  if (typeof document !== "object" || document === null) return undefined;
  const { task_id } = document as { task_id?: unknown };
  return typeof task_id === "string" ? task_id : undefined;
}
