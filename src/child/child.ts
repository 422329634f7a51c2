/**
 * The inside of a pool process: the app, its channel to the worker, and the one job that runs. `main.ts` gives it the real
 * process; a test gives it another end of a pipe.
 */
import type { Duplex } from "node:stream";
import type { TaskRegistry } from "../app/registry.ts";
import { runTask } from "../app/run-task.ts";
import type { Clock } from "../kit/clock.ts";
import { LovageError, messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { Ask } from "../pool/asks.ts";
import { TaskAbortedError } from "../pool/errors.ts";
import type { Job, Outcome } from "../pool/pool.ts";
import { Channel, TO_CHILD, type ToChild, type ToChildFrames, type ToParentFrames } from "../pool/prefork/ipc.ts";
import { failedOutcome } from "../pool/prefork/outcome-data.ts";
import { AskClient } from "./ask-client.ts";

/** What a pool process needs of the user's app. */
export interface ChildApp {
  readonly registry: TaskRegistry;
  useAsk(ask: Ask): void;
  useLog(log: Logger): void;
}

export interface ChildParts {
  readonly channel: Duplex;
  readonly load: () => Promise<ChildApp>;
  /** End the process. */
  readonly exit: (status: number) => void;
  readonly log: Logger;
  readonly clock: Clock;
}

const MAX_STACK_CHARS = 16 * 1024;

export class Child {
  readonly #parts: ChildParts;
  readonly #channel: Channel<ToChildFrames, ToParentFrames>;
  readonly #asks: AskClient;
  #app: ChildApp | undefined;
  #running: { readonly run: number; readonly controller: AbortController } | undefined;

  constructor(parts: ChildParts) {
    this.#parts = parts;
    this.#channel = new Channel<ToChildFrames, ToParentFrames>(parts.channel, TO_CHILD, {
      onFrame: (frame) => this.#onFrame(frame),
      onRefused: (why) => parts.log.warn(why),
      onEnd: (fault) => this.#onEnd(fault),
    });
    this.#asks = new AskClient({
      clock: parts.clock,
      send: ({ ask, op, params }) =>
        this.#channel.send({ kind: "ask", ask, run: this.#running?.run ?? null, op, params }),
    });
  }

  /** Load the app and say so; or say why not, and leave. */
  async boot(): Promise<void> {
    try {
      const app = await this.#parts.load();
      app.useAsk(this.#asks.ask);
      app.useLog(this.#parts.log);
      this.#app = app;
    } catch (error) {
      this.#channel.send({ kind: "broken", ...told(error) });
      await this.#channel.drained();
      this.#parts.exit(1);
      return;
    }
    this.#channel.send({ kind: "ready" });
  }

  /** What nobody caught is about to end the process: say what it was. */
  lastWords(error: unknown): void {
    const { message, stack } = told(error);
    this.#channel.send({ kind: "fatal", message, stack });
    this.#channel.flush();
  }

  #onFrame(frame: ToChild): void {
    switch (frame.kind) {
      case "run":
        void this.#run(frame.run, frame.job);
        return;
      case "abort":
        if (this.#running?.run === frame.run) this.#running.controller.abort(new TaskAbortedError(frame.reason));
        return;
      case "answer":
        this.#asks.answer(frame.ask, frame.value);
        return;
      case "refusal":
        this.#asks.refuse(frame.ask, frame.error);
        return;
      case "leave":
        this.#parts.exit(0);
        return;
    }
  }

  async #run(run: number, job: Job): Promise<void> {
    if (this.#app === undefined) return; // no worker sends a job before "ready"
    const controller = new AbortController();
    this.#running = { run, controller };
    // It must be in the pipe before the handler's first instruction: whatever that does to this process, the worker
    // knows that it had begun. A write of so few bytes reaches the kernel at once unless the pipe is full.
    this.#channel.send({ kind: "accept", run });
    this.#channel.flush();
    if (this.#channel.unsentBytes > 0) await this.#channel.drained();
    const { registry } = this.#app;
    const { log, clock } = this.#parts;
    const outcome = await runTask(job, { registry, ask: this.#asks.ask, log, clock, signal: controller.signal });
    this.#running = undefined;
    this.#sendDone(run, outcome);
  }

  #sendDone(run: number, outcome: Outcome): void {
    try {
      this.#channel.send({ kind: "done", run, outcome });
    } catch (error) {
      this.#channel.send({ kind: "done", run, outcome: failedOutcome(error) });
    }
    this.#channel.flush();
  }

  /** The worker is gone. What runs here must not go on: another worker may run it again. */
  #onEnd(fault: string | undefined): void {
    const why = fault === undefined ? "the worker is gone" : `the worker wrote to the channel ${fault}`;
    this.#parts.log.warn(
      this.#running === undefined ? `${why}; leaving` : `${why}; leaving, and what runs here with it`,
    );
    this.#asks.close(why);
    this.#parts.exit(0);
  }
}

/** The error as the worker shows it; of one of ours that wraps the user's, the user's own stack. */
function told(error: unknown): { code: string; message: string; stack: string } {
  const own = error instanceof LovageError && error.cause !== undefined ? error.cause : error;
  return {
    code: codeOf(own) || codeOf(error),
    message: messageOf(error).slice(0, MAX_STACK_CHARS),
    stack: stackOf(own).slice(0, MAX_STACK_CHARS),
  };
}

function codeOf(error: unknown): string {
  try {
    const { code } = error as { readonly code?: unknown };
    return typeof code === "string" ? code : "";
  } catch {
    return "";
  }
}

function stackOf(error: unknown): string {
  try {
    const { stack } = error as { readonly stack?: unknown };
    return typeof stack === "string" ? stack : messageOf(error);
  } catch {
    return messageOf(error);
  }
}
