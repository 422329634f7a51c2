/** A client of a simulated world: it schedules, cancels, moves and revokes, at any moment, and best of all when something is just due. */
import type { Misfire, NewCallback } from "../../src/schedule/callback.ts";
import { fingerprint } from "../../src/schedule/recurrence/fingerprint.ts";
import { firstPlan, resumePlan } from "../../src/schedule/recurrence/plan.ts";
import { evaluatorOf } from "../../src/schedule/recurrence/rule.ts";
import type { Definition } from "../../src/schedule/recurrence.ts";
import type { ScheduleStore, Target } from "../../src/schedule/store.ts";
import { type History, isUnknown, type PutRecord } from "./history.ts";
import type { Link } from "./link.ts";
import { storeOver } from "./link.ts";
import type { SimClock } from "./process.ts";
import type { Chance } from "./random.ts";

export interface ClientOptions {
  readonly link: Link;
  readonly clock: SimClock;
  readonly chance: Chance;
  readonly history: History;
  readonly queues: readonly string[];
  /** Commands in all, at moments spread over so long. */
  readonly commands: number;
  readonly forMs: number;
  readonly recurrences: boolean;
}

const KEYS = ["a", "b", "c", "d"];
const REPEATS = 3;

export class Client {
  readonly #options: ClientOptions;
  readonly #store: ScheduleStore;
  readonly #ids: string[] = [];
  readonly #taskIds: string[] = [];
  #made = 0;
  #recurring = 0;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#store = storeOver(options.link);
    const { chance, commands, forMs, link } = options;
    for (let i = 0; i < commands; i++) link.process.post(chance.between(0, forMs), () => void this.#command());
  }

  async #command(): Promise<void> {
    const { chance, recurrences } = this.#options;
    const what = chance.draw();
    try {
      if (what < 0.55 || this.#ids.length === 0) await this.#put();
      else if (what < 0.7) await this.#cancel(this.#target());
      else if (what < 0.8) await this.#move();
      else if (what < 0.86) await this.#revoke();
      else if (!recurrences || what < 0.88) await this.#store.get(this.#target());
      else if (what < 0.93) await this.#recur();
      else await this.#changeRecurrence();
    } catch (error) {
      // What a client is told it can live with; what it is not meant to be told fails the world.
      if (error instanceof TypeError || error instanceof RangeError) throw error;
    }
  }

  async #put(): Promise<void> {
    const { chance, history, link } = this.#options;
    const mark = `${link.process.name}.${++this.#made}`;
    const callback = this.#newCallback(mark);
    const record = history.put(mark, callback);
    for (let i = 0; i < REPEATS; i++) {
      try {
        const [answer] = await this.#store.put([callback]);
        history.answered(record, answer);
        break;
      } catch (error) {
        history.failed(record, error);
        // With its key, or its task id, repeating it is always safe.
        if (!isUnknown(error) || (callback.key === undefined && callback.taskId === undefined)) break;
      }
    }
    this.#remember(record);
    if (record.id !== undefined && chance.of(0.4)) this.#raceWithDue(record.id, callback.dueMs);
  }

  #newCallback(mark: string): NewCallback {
    const { chance, clock, queues } = this.#options;
    const nowMs = clock.wallMs();
    const dueMs = nowMs + (chance.of(0.1) ? -chance.whole(0, 1_500) : chance.spread(1, 4_000));
    const takenOver = chance.of(0.1);
    const misfire: Misfire = chance.of(0.15) ? "skip" : "fire";
    return {
      ...(takenOver ? { taskId: `t${chance.whole(1, 6)}` } : {}),
      ...(!takenOver && chance.of(0.35) ? { key: chance.pick(KEYS) } : {}),
      onConflict: chance.pick(["keep", "replace", "reject"]),
      dueMs,
      ...(chance.of(0.15) ? { expiresMs: dueMs + chance.spread(1, 3_000) } : {}),
      misfire,
      graceMs: chance.whole(0, 500),
      onLost: chance.of(0.25) ? "fail" : "rerun",
      queue: chance.pick(queues),
      ...(chance.of(0.2) ? { tags: ["x"] } : {}),
      message: { task: "work", body: mark, retries: takenOver ? chance.whole(0, 1) : 0 },
    };
  }

  #remember({ id, callback }: PutRecord): void {
    if (id !== undefined) this.#ids.push(id);
    if (callback.taskId !== undefined) this.#taskIds.push(callback.taskId);
  }

  /** Within 5 ms of due; or some time later, when it may wait to run again. */
  #raceWithDue(id: string, dueMs: number): void {
    const { chance, clock, link } = this.#options;
    const inMs = dueMs - clock.wallMs() + (chance.of(0.5) ? chance.between(-5, 5) : chance.spread(1, 2_000));
    link.process.post(Math.max(0, inMs), () => void this.#cancel({ id }).catch(() => undefined));
  }

  async #cancel(target: Target): Promise<void> {
    const { chance, history } = this.#options;
    history.asksToTakeBack(target);
    history.takesBack(await this.#store.cancel(target, { abort: chance.of(0.4) }));
  }

  async #move(): Promise<void> {
    const { chance, clock, history } = this.#options;
    const to = chance.of(0.5) ? { dueMs: clock.wallMs() + chance.spread(1, 3_000) } : { byMs: chance.whole(-800, 800) };
    const target = this.#target();
    history.moved.add("id" in target ? target.id : target.key);
    const answer = await this.#store.reschedule(target, to);
    if (answer.answer === "rescheduled" && chance.of(0.3)) this.#raceWithDue(answer.id, answer.dueMs);
  }

  async #revoke(): Promise<void> {
    const { chance, clock, history } = this.#options;
    const taskId = chance.of(0.6) && this.#taskIds.length > 0 ? chance.pick(this.#taskIds) : chance.pick(this.#ids);
    history.takenBackKeys.add(taskId);
    history.takenBack.add(taskId);
    history.takesBack(await this.#store.revoke(taskId, clock.wallMs() + 600_000, { abort: chance.of(0.4) }));
  }

  async #recur(): Promise<void> {
    const { chance, clock, history, link } = this.#options;
    if (this.#recurring >= 2) return this.#changeRecurrence();
    this.#recurring += 1;
    const mark = `${link.process.name}.r${++this.#made}`;
    const definition = this.#newDefinition(mark);
    history.definitions.set(mark, definition);
    const evaluator = await evaluatorOf(definition);
    const key = chance.of(0.7) ? chance.pick(KEYS) : undefined;
    const answer = await this.#store.recurrences.put({
      ...(key === undefined ? {} : { key }),
      onConflict: chance.pick(["keep", "replace", "reject"]),
      definition,
      fingerprint: fingerprint(definition),
      plan: firstPlan(definition, evaluator, clock.wallMs(), key),
    });
    history.recurrences.add(answer.id);
  }

  #newDefinition(mark: string): Definition {
    const { chance, clock, queues } = this.#options;
    const everyMs = chance.spread(300, 3_000);
    return {
      rule: chance.of(0.7)
        ? { kind: "every", everyMs, anchorMs: clock.wallMs() - chance.whole(0, 5_000) }
        : { kind: "cron", cron: chance.pick(["* * * * * *", "*/2 * * * * *"]), timezone: "UTC" },
      ...(chance.of(0.2) ? { untilMs: clock.wallMs() + chance.spread(500, 6_000) } : {}),
      misfire: chance.pick([
        { kind: "coalesce" },
        { kind: "all", limit: chance.whole(1, 4) },
        { kind: "skip", graceMs: chance.whole(0, 500) },
      ] as const),
      overlap: chance.pick(["allow", "skip", "queue"]),
      jitterMs: chance.of(0.3) ? chance.whole(0, 200) : 0,
      call: {
        queue: chance.pick(queues),
        tags: [],
        message: { task: `tick:${Math.round(everyMs * chance.between(0, 0.9))}`, body: mark, retries: 0 },
        onLost: chance.of(0.3) ? "fail" : "rerun",
        ...(chance.of(0.2) ? { expiresAfterMs: chance.spread(50, 3_000) } : {}),
      },
    };
  }

  async #changeRecurrence(): Promise<void> {
    const { chance, clock, history } = this.#options;
    const { recurrences } = this.#store;
    const known = [...history.recurrences];
    if (known.length === 0) return;
    const target = chance.of(0.7) ? { id: chance.pick(known) } : { key: chance.pick(KEYS) };
    const what = chance.draw();
    if (what < 0.4) await recurrences.pause(target);
    else if (what < 0.85) {
      const found = await recurrences.get(target);
      if (found === undefined) return;
      const evaluator = await evaluatorOf(found.definition);
      await recurrences.resume(target, found.generation, resumePlan(found, evaluator, clock.wallMs()));
    } else history.takesBack(await recurrences.cancel(target, { abort: chance.of(0.4) }));
  }

  #target(): Target {
    const { chance } = this.#options;
    return chance.of(0.6) && this.#ids.length > 0 ? { id: chance.pick(this.#ids) } : { key: chance.pick(KEYS) };
  }
}
