/** The tasks of an app, by name. A Map, so that `constructor` and `__proto__` are only names that nobody registered. */
import { ContractError } from "../kit/errors.ts";
import type { RegisteredTask } from "./task-options.ts";

export class DuplicateTaskError extends ContractError {
  readonly code = "ERR_DUPLICATE_TASK";
}

export class TaskRegistry<T extends RegisteredTask = RegisteredTask> {
  readonly #tasks = new Map<string, T>();

  /** @throws {DuplicateTaskError} the name is taken: two handlers under one name would run at random */
  add(task: T): void {
    if (this.#tasks.has(task.name)) {
      throw new DuplicateTaskError(
        `task ${JSON.stringify(task.name)} is registered twice; give one of the two another name`,
      );
    }
    this.#tasks.set(task.name, task);
  }

  get(name: string): T | undefined {
    return this.#tasks.get(name);
  }

  /** Sorted. */
  names(): string[] {
    return [...this.#tasks.keys()].sort();
  }

  get size(): number {
    return this.#tasks.size;
  }
}
