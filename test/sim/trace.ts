/** What happened in a world, folded into 64 bits: two runs of one seed must give the same. */
export class Trace {
  #high = 0x811c9dc5;
  #low = 0x9e3779b9;
  readonly #lines: string[] | undefined;

  /** @param keep keep the lines, to read them */
  constructor(keep = false) {
    this.#lines = keep ? [] : undefined;
  }

  get lines(): readonly string[] {
    return this.#lines ?? [];
  }

  get hash(): string {
    return [this.#high, this.#low].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
  }

  add(atMs: number, who: string, what: string): void {
    this.#lines?.push(`${atMs.toFixed(3).padStart(12)} ${who.padEnd(8)} ${what}`);
    this.#fold(Math.round(atMs * 1_000) | 0);
    for (let i = 0; i < who.length; i++) this.#fold(who.charCodeAt(i));
    for (let i = 0; i < what.length; i++) this.#fold(what.charCodeAt(i));
  }

  #fold(value: number): void {
    this.#high = Math.imul(this.#high ^ value, 0x01000193);
    this.#low = (Math.imul(this.#low, 31) + value) ^ (this.#high >>> 15);
  }
}

/** An id without what is random in it. */
export function plain(id: string): string {
  return id.slice(0, id.lastIndexOf("-"));
}
