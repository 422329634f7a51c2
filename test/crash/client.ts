/**
 * The client of the crash tests: schedules callbacks, cancels some of them, many as close to their due time as it can, and writes down what it
 * asked and what it was told. It believes what it is told, and asks again when it is told nothing.
 */
import { setTimeout as wait } from "node:timers/promises";
import { Lovage } from "lovage";
import { OutcomeUnknownError } from "../../src/kit/errors.ts";
import { CALLBACK_STATES, type CallbackState } from "../../src/schedule/callback.ts";
import type { Call, CancelCall, Outcome, Row, ScheduleCall } from "./history.ts";

export interface Planned {
  readonly name: string;
  readonly dueMs: number;
  readonly holdMs: number;
  /** Its first run asks to run again after so long; 0: it does not. */
  readonly againAfterMs: number;
}

/** It gives up repeating a call without an answer after this. */
const PATIENCE_MS = 20_000;
const AGAIN_MS = 100;
/** A callback is not asked for again when it could have ended meanwhile: then its key would be free, and a second one be made. */
const SAFE_MS = 1_500;
/** Before a moment that is to be met, a timer is not trusted for the rest. */
const SPIN_MS = 2;

type Answer = Pick<ScheduleCall, "put" | "id"> & Pick<CancelCall, "answer">;
type Told = Answer & Pick<Call, "invokedMs" | "invokedMonoMs" | "answeredMs" | "outcome" | "code">;

export class Client {
  readonly calls: Call[] = [];
  /** Of each that was acknowledged, by its name. */
  readonly ids = new Map<string, string>();
  readonly #app: Lovage;

  constructor(env: Readonly<Record<string, string>>) {
    this.#app = new Lovage("crash-client", {}, { env });
  }

  /** Until it is acknowledged, refused for good, or too late to be asked again. */
  async schedule({ name, dueMs, holdMs, againAfterMs }: Planned): Promise<void> {
    const call = this.#app.signature("crash.run", { args: [name, holdMs, againAfterMs], ignoreResult: true });
    const again = againAfterMs > 0;
    await this.#untilAnswered(
      async () => {
        const { id, put } = await this.#app.schedule.callAt(new Date(dueMs), call, { key: name });
        this.ids.set(name, id);
        return { id, put };
      },
      (told) => this.calls.push({ op: "schedule", name, dueMs, again, ...told }),
      () => Date.now() < dueMs - SAFE_MS,
    );
  }

  async cancel({ name, dueMs }: Planned): Promise<void> {
    const id = this.ids.get(name);
    await this.#untilAnswered(
      async () => ({
        answer: await this.#app.schedule.cancel(id === undefined ? { key: name } : { id }),
        ...(id === undefined ? {} : { id }),
      }),
      (told) => this.calls.push({ op: "cancel", name, dueMs, ...told }),
      () => true,
    );
  }

  /** Something that recurs, each time as a run of that name: every nominal time is run, however late. */
  async recur(name: string, everyMs: number, startMs: number, untilMs: number): Promise<void> {
    const call = this.#app.signature("crash.run", { args: [name, 1, 0], ignoreResult: true });
    const when = { every: everyMs / 1_000, startAt: new Date(startMs), until: new Date(untilMs) };
    await this.#app.schedule.callRepeatedly(when, call, { key: name, misfire: "all" });
  }

  /** Cancel each at its moment. Resolves when all are answered. */
  async cancelAt(
    moments: readonly { readonly atMs: number; readonly planned: Planned }[],
    stopped: AbortSignal,
  ): Promise<void> {
    const sorted = [...moments].sort((a, b) => a.atMs - b.atMs);
    const answers: Promise<void>[] = [];
    for (const { atMs, planned } of sorted) {
      await untilMs(atMs, stopped);
      if (stopped.aborted) break;
      answers.push(this.cancel(planned));
    }
    await Promise.all(answers);
  }

  /** Everything that the store has, and what it counts itself. */
  async dump(): Promise<Row[]> {
    const rows: Row[] = [];
    for await (const row of this.#app.schedule.list({ states: CALLBACK_STATES })) {
      const { id, key, state, attempts, token, dueMs, endedMs } = row;
      const more = { ...(key === undefined ? {} : { key }), ...(endedMs === undefined ? {} : { endedMs }) };
      rows.push({ id, state, attempts, token, dueMs, ...more });
    }
    return rows;
  }

  async counts(): Promise<Partial<Record<CallbackState, number>>> {
    return (await this.#app.backends.store()).counts();
  }

  /** The store's clock less ours. */
  async clockOffsetMs(): Promise<number> {
    const store = await this.#app.backends.store();
    const before = Date.now();
    const now = await store.nowMs();
    // Between two readings of ours: an offset within them is none.
    return now < before ? now - before : Math.max(0, now - Date.now());
  }

  close(): Promise<void> {
    return this.#app.close();
  }

  async #untilAnswered(
    ask: () => Promise<Answer>,
    note: (told: Told) => void,
    mayRepeat: () => boolean,
  ): Promise<void> {
    const untilMs = Date.now() + PATIENCE_MS;
    for (;;) {
      const invoked = { invokedMs: Date.now(), invokedMonoMs: performance.now() };
      const told = (outcome: Outcome, more: Answer & { readonly code?: string }) =>
        note({ ...invoked, answeredMs: Date.now(), outcome, ...more });
      try {
        told("ok", await ask());
        return;
      } catch (error) {
        told(error instanceof OutcomeUnknownError ? "unknown" : "fail", { code: codeOf(error) });
        if (Date.now() > untilMs || !mayRepeat()) return;
        await wait(AGAIN_MS);
      }
    }
  }
}

function codeOf(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return String(error);
}

/** To the millisecond: a timer for most of it, then turns of the event loop. */
async function untilMs(atMs: number, stopped: AbortSignal): Promise<void> {
  for (;;) {
    const leftMs = atMs - Date.now();
    if (leftMs <= 0 || stopped.aborted) return;
    if (leftMs > SPIN_MS) await wait(Math.min(1_000, leftMs - SPIN_MS));
    else await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
