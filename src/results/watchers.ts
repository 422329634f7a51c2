/**
 * Who waits for which result, in this process. Each change of a backend has a number, greater than all before it; a watch
 * is told of greater numbers only. So it does not matter by how many ways a change is learned of, or in which order.
 */
import type { ResultDocument } from "../protocol/result.ts";

export class Watch {
  readonly taskId: string;
  /** Number of the change that was told last. */
  seen = 0;
  readonly #onChange: (document: ResultDocument) => void;

  constructor(taskId: string, onChange: (document: ResultDocument) => void) {
    this.taskId = taskId;
    this.#onChange = onChange;
  }

  tell(change: number, document: () => ResultDocument): void {
    if (change <= this.seen) return;
    this.seen = change;
    this.#onChange(document());
  }
}

export class Watchers {
  readonly #byTask = new Map<string, Set<Watch>>();

  /** Task ids that somebody waits for. */
  get size(): number {
    return this.#byTask.size;
  }

  add(taskId: string, onChange: (document: ResultDocument) => void): Watch {
    const watch = new Watch(taskId, onChange);
    const others = this.#byTask.get(taskId);
    if (others === undefined) this.#byTask.set(taskId, new Set([watch]));
    else others.add(watch);
    return watch;
  }

  has(watch: Watch): boolean {
    return this.#byTask.get(watch.taskId)?.has(watch) === true;
  }

  remove(watch: Watch): void {
    const others = this.#byTask.get(watch.taskId);
    others?.delete(watch);
    if (others?.size === 0) this.#byTask.delete(watch.taskId);
  }

  clear(): void {
    this.#byTask.clear();
  }

  /** @param document made at most once, and only if somebody waits */
  tell(taskId: string, change: number, document: () => ResultDocument): void {
    const watches = this.#byTask.get(taskId);
    if (watches === undefined) return;
    let made: ResultDocument | undefined;
    const once = () => {
      made ??= document();
      return made;
    };
    for (const watch of watches) {
      try {
        watch.tell(change, once);
      } catch (error) {
        // As of an event listener: nobody catches it, and the others are told all the same.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  /** Each watched task, with the change that even its slowest watch was told of. */
  *seen(): Generator<readonly [taskId: string, change: number]> {
    for (const [taskId, watches] of this.#byTask) {
      let least = Number.POSITIVE_INFINITY;
      for (const { seen } of watches) least = Math.min(least, seen);
      yield [taskId, least];
    }
  }
}
