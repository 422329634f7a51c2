/** Takes what others asked to be aborted of this worker's runs, one look at a time. */
import type { Owner, ScheduleStore } from "../store.ts";

export interface AbortsOptions {
  readonly store: Pick<ScheduleStore, "takeAborts">;
  readonly owner: Owner;
  /** Somebody asked that this run end. */
  readonly onAbort: (id: string, token: number) => void;
  readonly onError: (error: unknown) => void;
}

export class Aborts {
  readonly #options: AbortsOptions;
  #taking = false;
  #again = false;

  constructor(options: AbortsOptions) {
    this.#options = options;
  }

  /** Never rejects. Asked for again during a look, it looks once more: what was requested meanwhile may have been missed. */
  async take(): Promise<void> {
    this.#again = true;
    if (this.#taking) return;
    this.#taking = true;
    try {
      while (this.#again) {
        this.#again = false;
        await this.#takeOnce();
      }
    } catch (error) {
      this.#options.onError(error);
    } finally {
      this.#taking = false;
    }
  }

  async #takeOnce(): Promise<void> {
    const { store, owner, onAbort } = this.#options;
    for (const { id, token } of await store.takeAborts(owner)) onAbort(id, token);
  }
}
