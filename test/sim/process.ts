/** A process of a simulated world: what happens to it happens through the loop; it may stand still, and it may die. */
import type { Clock, Timeout } from "../../src/kit/clock.ts";
import type { Loop, LoopEvent } from "./loop.ts";
import type { Draw } from "./random.ts";

/** 2030-01-01T00:00:00Z, and as much as a clock of this world is wrong. */
const EPOCH_MS = 1_893_456_000_000;

/** A clock that may be wrong, run too fast and be set; it wakes early, as Node does. */
export class SimClock implements Clock {
  readonly #loop: Loop;
  readonly #rate: number;
  readonly #post: (delayMs: number, fn: () => void) => Timeout;
  readonly #earlyMs: Draw;
  #offsetMs: number;

  constructor(
    loop: Loop,
    options: { offsetMs?: number; rate?: number; post?: (delayMs: number, fn: () => void) => Timeout; earlyMs?: Draw },
  ) {
    this.#loop = loop;
    this.#rate = options.rate ?? 1;
    this.#offsetMs = options.offsetMs ?? 0;
    this.#earlyMs = options.earlyMs ?? (() => 0);
    this.#post = options.post ?? (() => ({ cancel: () => undefined }));
  }

  wallMs(): number {
    return EPOCH_MS + Math.floor(this.#loop.nowMs * this.#rate + this.#offsetMs);
  }

  monoMs(): number {
    return this.#loop.nowMs * this.#rate;
  }

  timeout(fn: () => void, delayMs: number): Timeout {
    if (!(delayMs >= 0 && delayMs < 2 ** 31)) throw new RangeError(`a timeout of ${delayMs} ms`);
    return this.#post(Math.max(delayMs - this.#earlyMs(), delayMs / 10) / this.#rate, fn);
  }

  /** Set the wall. */
  step(byMs: number): void {
    this.#offsetMs += byMs;
  }
}

export class SimProcess {
  readonly name: string;
  readonly #loop: Loop;
  readonly #tie: number;
  #state: "runs" | "stands" | "dead" = "runs";
  #waiting: (() => void)[] = [];

  constructor(name: string, loop: Loop, draw: Draw) {
    this.name = name;
    this.#loop = loop;
    this.#tie = draw();
  }

  get runs(): boolean {
    return this.#state === "runs";
  }

  get isDead(): boolean {
    return this.#state === "dead";
  }

  /** Run `fn` in this process then; later if it stands still, never if it is dead. */
  readonly post = (delayMs: number, fn: () => void): Timeout => {
    let cancelled = false;
    const run = () => {
      if (cancelled || this.#state === "dead") return;
      if (this.#state === "stands") this.#waiting.push(run);
      else fn();
    };
    const event: LoopEvent = this.#loop.at(this.#loop.nowMs + delayMs, this.#tie, run);
    return {
      cancel: () => {
        cancelled = true;
        event.fn = null;
      },
    };
  };

  /** SIGSTOP. */
  stand(): void {
    if (this.#state === "runs") this.#state = "stands";
  }

  /** SIGCONT: what came meanwhile comes now, in its order. */
  goOn(): void {
    if (this.#state !== "stands") return;
    this.#state = "runs";
    for (const run of this.#waiting.splice(0)) this.#loop.at(this.#loop.nowMs, this.#tie, run);
  }

  /** SIGKILL. */
  kill(): void {
    this.#state = "dead";
    this.#waiting = [];
  }
}
