/**
 * Answers what tasks and clients ask (`pool/asks.ts`), on the app's own backends. A client asks its own gateway; a task in
 * a sub-process asks its worker's, over the pool's channel. Whoever asks, the same lines answer.
 */
import type { Clock } from "../kit/clock.ts";
import { InvalidInputError } from "../kit/errors.ts";
import type { Ask, AskAnswer, AskOp, AskParams } from "../pool/asks.ts";
import { READY_STATES, type ResultDocument } from "../protocol/result.ts";
import type { Callback, NewCallback } from "../schedule/callback.ts";
import type { Backends } from "./backends.ts";
import type { Producer } from "./producer.ts";

type Answers = { readonly [Op in AskOp]: (params: AskParams<Op>) => Promise<AskAnswer<Op>> };

export interface GatewayOptions {
  readonly backends: Backends;
  readonly producer: Producer;
  readonly clock: Clock;
  readonly resultExpiresMs: number;
}

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #answers: Answers;
  #onDue: (dueMs: number) => void = () => undefined;
  #onRevoked: (taskId: string) => void = () => undefined;

  constructor(options: GatewayOptions) {
    this.#options = options;
    const store = () => options.backends.store();
    const results = () => options.backends.results();
    this.#answers = {
      "schedule.put": ({ callbacks }) => this.#put(callbacks),
      "schedule.cancel": async ({ target, abort }) => (await store()).cancel(target, { abort }),
      "schedule.reschedule": async ({ target, to }) => {
        const answer = await (await store()).reschedule(target, to);
        if (answer.answer === "rescheduled") this.#onDue(answer.dueMs);
        return answer;
      },
      "schedule.get": async ({ target }): Promise<Callback | null> => (await (await store()).get(target)) ?? null,
      "schedule.list": async ({ query }) => (await store()).list(query),
      "schedule.revoke": async ({ taskId, untilMs, abort }) => {
        const answer = await (await store()).revoke(taskId, untilMs, { abort });
        this.#onRevoked(taskId);
        return answer;
      },
      publish: async ({ exchange, routingKey, properties, headers, body }) => {
        await options.producer.publish({ exchange, routingKey }, { properties, headers, body: Buffer.from(body) });
        return null;
      },
      "result.get": async ({ taskId }) => (await (await results()).get(taskId)) ?? null,
      "result.wait": ({ taskId, timeoutMs }) => this.#wait(taskId, timeoutMs),
      "result.store": async ({ document }) => {
        await (await results()).store(document, options.resultExpiresMs);
        return null;
      },
      "result.forget": async ({ taskId }) => {
        await (await results()).forget(taskId);
        return null;
      },
    };
  }

  readonly ask: Ask = (op, params) => this.#answers[op](params);

  /** The same for an operation whose name and parameters came over a channel. @throws {InvalidInputError} no such operation */
  readonly askUntyped = (op: string, params: unknown): Promise<unknown> => {
    if (!Object.hasOwn(this.#answers, op)) {
      return Promise.reject(new InvalidInputError(`a task asked for ${JSON.stringify(op)}, which no worker answers`));
    }
    return this.#answers[op as AskOp](params as never);
  };

  /** Tell `listener` (the worker's scheduler) of each due time that this process adds. */
  listenForDue(listener: (dueMs: number) => void): void {
    this.#onDue = listener;
  }

  /** Tell `listener` (the worker's requests) of each task id that this process revokes. */
  listenForRevoked(listener: (taskId: string) => void): void {
    this.#onRevoked = listener;
  }

  async #put(callbacks: readonly NewCallback[]) {
    const answers = await (await this.#options.backends.store()).put(callbacks);
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const each of answers) {
      if (each.put === "added" || each.put === "replaced") earliestMs = Math.min(earliestMs, each.dueMs);
    }
    if (earliestMs !== Number.POSITIVE_INFINITY) this.#onDue(earliestMs);
    return answers;
  }

  async #wait(taskId: string, timeoutMs: number): Promise<ResultDocument | null> {
    const results = await this.#options.backends.results();
    let settle: (document: ResultDocument | null) => void = () => undefined;
    const settled = new Promise<ResultDocument | null>((resolve) => {
      settle = resolve;
    });
    const watch = await results.watch(taskId, (document) => {
      if (READY_STATES.has(document.status)) settle(document);
    });
    const timeout = this.#options.clock.timeout(() => settle(null), timeoutMs);
    try {
      return await settled;
    } finally {
      timeout.cancel();
      watch.stop();
    }
  }
}
