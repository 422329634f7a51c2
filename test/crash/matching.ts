/**
 * Starts matched to nominal times, one to one. Each nominal time takes a start that comes at it or within a span after it. With spans of one
 * length the first that fits, by time, is the best that can be done: no other choice matches more (Glover's rule for such graphs).
 */

export interface Unmatched {
  /** Nominal times that no start was left for. */
  readonly missed: readonly number[];
  /** Starts that no nominal time was left for. */
  readonly extra: readonly number[];
}

export function unmatched(nominalMs: readonly number[], startsMs: readonly number[], withinMs: number): Unmatched {
  const waiting = [...nominalMs].sort((a, b) => a - b);
  const missed: number[] = [];
  const extra: number[] = [];
  for (const start of [...startsMs].sort((a, b) => a - b)) {
    while (waiting[0] !== undefined && waiting[0] + withinMs < start) missed.push(waiting.shift() as number);
    if (waiting[0] !== undefined && waiting[0] <= start) waiting.shift();
    else extra.push(start);
  }
  return { missed: [...missed, ...waiting], extra };
}
