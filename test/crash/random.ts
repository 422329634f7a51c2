/** Random numbers that a seed repeats (mulberry32). Real processes add their own chance; the seed says what was done to them. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 … 1, without 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  between(from: number, to: number): number {
    return from + this.next() * (to - from);
  }

  whole(from: number, to: number): number {
    return Math.floor(this.between(from, to + 1));
  }

  chance(part: number): boolean {
    return this.next() < part;
  }

  pick<Each>(list: readonly Each[]): Each {
    if (list.length === 0) throw new Error("there is nothing to pick from");
    return list[Math.floor(this.next() * list.length)] as Each;
  }
}
