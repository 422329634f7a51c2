/** The open line to a server that the parts of a connection share: it ends once, for one reason, and all who wait on it are told that. */
import { BrokerUnavailableError } from "./errors.ts";

export abstract class BrokerLine {
  /** Without the password. */
  readonly url: string;
  readonly #onEnd = new Set<(why: Error) => void>();
  #ended: Error | undefined;
  #closing: Error | undefined;

  constructor(url: string) {
    this.url = url;
  }

  get ended(): Error | undefined {
    return this.#ended;
  }

  /** Why it is about to end because we want it to. */
  get ending(): Error | undefined {
    return this.#closing;
  }

  /** @throws what ended the line, or is about to */
  check(): void {
    const why = this.#ended ?? this.#closing;
    if (why !== undefined) throw why;
  }

  /** From now on the line ends because we want it to: `why` is what later calls are told. */
  closing(why: Error): void {
    this.#closing ??= why;
  }

  /** Called once, with what later calls are to be told. */
  onEnd(listener: (why: Error) => void): void {
    if (this.#ended === undefined) this.#onEnd.add(listener);
    else listener(this.#ended);
  }

  /** The line is of no use. The first reason counts. */
  lose(cause: Error): void {
    if (this.#ended !== undefined) return;
    if (this.#closing !== undefined) {
      this.end(this.#closing);
      return;
    }
    const said = () => `the connection to ${this.url} was lost: ${this.said(cause)}`;
    this.end(cause instanceof BrokerUnavailableError ? cause : new BrokerUnavailableError(said(), { cause }));
  }

  /** Nothing further is sent or waited for. */
  end(why: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = why;
    this.failWaiting(why);
    for (const listener of this.#onEnd) listener(why);
    this.#onEnd.clear();
    this.hangUp();
  }

  /** The cause in one line, as the server words it. */
  protected abstract said(cause: Error): string;
  /** What was asked of the server will not be answered. */
  protected abstract failWaiting(why: Error): void;
  /** Let the socket go. */
  protected abstract hangUp(): void;
}
