/** Who serves which queues, as the owners that live have announced it. */
import type { Owner } from "../../store.ts";

export class Serving {
  /** By the owner's id; undefined: every queue. */
  readonly #queues = new Map<string, ReadonlySet<string> | undefined>();

  announce({ id, queues }: Owner): void {
    this.#queues.set(id, queues === undefined ? undefined : new Set(queues));
  }

  resign(id: string): void {
    this.#queues.delete(id);
  }

  /** Whether the owner may claim from the queue: it serves it, or nobody does and it can send it on. Undefined: from every one. */
  filterOf({ queues, sendsOn = true }: Owner): ((queue: string) => boolean) | undefined {
    if (queues === undefined) return undefined;
    const own = new Set(queues);
    return (queue) => own.has(queue) || (sendsOn && !this.#isServed(queue));
  }

  /** How many that live serve a queue of the owner's; itself counted, announced or not. */
  countSharing({ id, queues }: Owner): number {
    let count = 1;
    for (const [other, served] of this.#queues) {
      if (other !== id && (served === undefined || queues?.some((queue) => served.has(queue)) !== false)) count += 1;
    }
    return count;
  }

  #isServed(queue: string): boolean {
    for (const served of this.#queues.values()) if (served?.has(queue) !== false) return true;
    return false;
  }
}
