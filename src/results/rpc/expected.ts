/**
 * The tasks whose results are to come to this process. Bounded: of a program that sent more than it has heard of, nothing can be
 * said any more of a task that is not among them.
 */
export class Expected {
  readonly #ids = new Set<string>();
  readonly #most: number;
  #whole = true;

  constructor(most: number) {
    this.#most = most;
  }

  add(taskId: string): void {
    this.#ids.add(taskId);
    if (this.#ids.size <= this.#most) return;
    this.#whole = false;
    for (const oldest of this.#ids) {
      this.#ids.delete(oldest);
      return;
    }
  }

  /** It has come. */
  delete(taskId: string): void {
    this.#ids.delete(taskId);
  }

  /** Its result can come here, as far as we know. */
  mayCome(taskId: string): boolean {
    return !this.#whole || this.#ids.has(taskId);
  }
}
