/** Asks the store which task ids were revoked: one question a turn, however many messages came in it. */
import type { ScheduleStore } from "../schedule/store.ts";

interface Question {
  readonly taskId: string;
  readonly answer: (revoked: boolean) => void;
  readonly fail: (error: unknown) => void;
}

export class Revoked {
  readonly #store: Pick<ScheduleStore, "revoked">;
  #questions: Question[] = [];

  constructor(store: Pick<ScheduleStore, "revoked">) {
    this.#store = store;
  }

  /** @throws {StoreUnavailableError} it cannot be known now */
  has(taskId: string): Promise<boolean> {
    return new Promise((answer, fail) => {
      this.#questions.push({ taskId, answer, fail });
      if (this.#questions.length === 1) queueMicrotask(() => void this.#ask());
    });
  }

  async #ask(): Promise<void> {
    const questions = this.#questions;
    this.#questions = [];
    try {
      const revoked = await this.#store.revoked(questions.map((each) => each.taskId));
      for (const each of questions) each.answer(revoked.has(each.taskId));
    } catch (error) {
      for (const each of questions) each.fail(error);
    }
  }
}
