/** Who wants to be told. One that throws is logged and keeps nobody else from being told. */
import { toError } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";

export class Listeners {
  readonly #listeners = new Set<() => void>();
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Answers how to stop. The same function twice is told twice. */
  add(listener: () => void): () => void {
    const entry = () => listener();
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  call(): void {
    // A copy: a listener may stop listening, or start another.
    for (const listener of [...this.#listeners]) {
      try {
        listener();
      } catch (error) {
        this.#log.error("a listener of the pool threw", { error: toError(error) });
      }
    }
  }
}
