/**
 * All chance of one simulated world, from one seed. Each purpose has a stream of its own, named, so that a fault that is left out does not
 * change what the others do: that is what makes shrinking a failure work.
 */
export type Draw = () => number;

export class Chance {
  readonly draw: Draw;
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
    this.draw = mulberry(seed);
  }

  /** A stream of its own for this purpose. */
  fork(name: string): Chance {
    let hash = this.#seed ^ 0x9e3779b9;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    return new Chance(hash >>> 0);
  }

  /** True with this probability. */
  of(probability: number): boolean {
    return this.draw() < probability;
  }

  /** In [least, most). */
  between(least: number, most: number): number {
    return least + (most - least) * this.draw();
  }

  /** Whole, least … most. */
  whole(least: number, most: number): number {
    return least + Math.floor((most - least + 1) * this.draw());
  }

  /** Around many orders of magnitude: as often 1 … 10 as 10 … 100. */
  spread(least: number, most: number): number {
    return Math.round(least * (most / least) ** this.draw());
  }

  pick<T>(of: readonly T[]): T {
    return of[Math.floor(of.length * this.draw())] as T;
  }
}

function mulberry(seed: number): Draw {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
