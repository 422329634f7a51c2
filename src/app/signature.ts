/** A task call as a value: what to run, with which arguments, and how to send it. */
import type { AsyncResult } from "./async-result.ts";
import type { ApplyOptions } from "./send.ts";

/** Phantom, so that the type of the result can be read off a signature. */
declare const result: unique symbol;

export interface SignatureOptions extends ApplyOptions {
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
}

/** What sends it: the app, seen from here. */
export interface Sender {
  send(signature: Signature, options?: ApplyOptions): Promise<AsyncResult>;
}

export class Signature<Result = unknown> {
  declare readonly [result]?: Result;
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: ApplyOptions;
  readonly #sender: Sender;

  constructor(sender: Sender, task: string, { args = [], kwargs = {}, ...options }: SignatureOptions = {}) {
    this.#sender = sender;
    this.task = task;
    this.args = args;
    this.kwargs = kwargs;
    this.options = options;
  }

  /** Send it now. */
  delay(): Promise<AsyncResult<Result>> {
    return this.applyAsync();
  }

  /** Send it; `options` win over its own. */
  applyAsync(options: ApplyOptions = {}): Promise<AsyncResult<Result>> {
    return this.#sender.send(this, options) as Promise<AsyncResult<Result>>;
  }
}
