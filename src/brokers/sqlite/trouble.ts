/** Says once that something does not work, and once that it works again, however often it is tried. */
import { messageOf } from "../../kit/errors.ts";
import type { Logger } from "../../kit/log.ts";

export class Trouble {
  readonly #log: Pick<Logger, "warn"> | undefined;
  readonly #where: string;
  readonly #said = new Set<string>();

  constructor(where: string, log: Pick<Logger, "warn"> | undefined) {
    this.#where = where;
    this.#log = log;
  }

  /** @param what what does not work, as in "messages cannot be claimed" */
  add(what: string, error: unknown): void {
    if (this.#said.has(what)) return;
    this.#said.add(what);
    this.#log?.warn(`${this.#where}: ${what} (${messageOf(error)}); trying again until it works`);
  }

  end(what: string): void {
    if (this.#said.delete(what)) this.#log?.warn(`${this.#where}: works again, after "${what}"`);
  }
}
