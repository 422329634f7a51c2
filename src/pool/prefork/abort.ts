/**
 * An abort in progress: why, and how far it has gone. It only ever goes on: whoever asks again, and everybody who sees the tombstone does,
 * neither sets it back nor takes the named signal away.
 */
export class Abort {
  readonly reason: string;
  #signal: NodeJS.Signals = "SIGTERM";
  #sent = false;

  constructor(reason: string) {
    this.reason = reason;
  }

  /** The signal that is to be sent. Undefined names none, and changes nothing. */
  name(signal: NodeJS.Signals | undefined): void {
    if (signal !== undefined) this.#signal = signal;
  }

  /** What the process is sent now: the signal that was named, once; after it SIGKILL. */
  next(): NodeJS.Signals {
    if (this.#sent) return "SIGKILL";
    this.#sent = true;
    return this.#signal;
  }
}
