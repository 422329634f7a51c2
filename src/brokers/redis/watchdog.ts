/**
 * Notices a loop that does not go on (story L10: alive, and silent). It counts the looks of a timer, not time: a process that was stopped
 * has not stood still. Pure.
 */
export class Watchdog {
  readonly #limit: number;
  #last: number | undefined;
  #same = 0;

  /** @param limit looks without progress, after which the loop is taken for stuck; at least 1 */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @param progress changes whenever the loop goes round; undefined while it has nothing to do */
  isStuck(progress: number | undefined): boolean {
    this.#same = progress !== undefined && progress === this.#last ? this.#same + 1 : 0;
    this.#last = progress;
    return this.#same >= this.#limit;
  }
}
