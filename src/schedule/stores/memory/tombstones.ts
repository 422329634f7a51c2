/** Revoked task ids of the memory store, each until its moment: a message still on its way is discarded when it arrives. */
export class Tombstones {
  readonly #untilMs = new Map<string, number>();

  /** A later moment stands, an earlier one changes nothing. */
  set(taskId: string, untilMs: number): void {
    this.#untilMs.set(taskId, Math.max(untilMs, this.#untilMs.get(taskId) ?? untilMs));
  }

  has(taskId: string, nowMs: number): boolean {
    const untilMs = this.#untilMs.get(taskId);
    return untilMs !== undefined && untilMs > nowMs;
  }

  /** Remove those past their moment, looking at `limit` at most; those it keeps go to the end. */
  sweep(nowMs: number, limit: number): void {
    let left = limit;
    for (const [taskId, untilMs] of this.#untilMs) {
      if (left-- <= 0) return;
      this.#untilMs.delete(taskId);
      if (untilMs > nowMs) this.#untilMs.set(taskId, untilMs);
    }
  }
}
