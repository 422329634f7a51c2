/**
 * Orders to workers, Lovage's and Python's: `app.control`, with Celery's words. A revoke is written in the schedule first, where it lasts and
 * answers truthfully; then the workers are told, as far as they listen.
 */
import { inBatches } from "../kit/batches.ts";
import { type Duration, parseDurationMs } from "../kit/duration.ts";
import { InvalidInputError, messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import { signalOf } from "../kit/signals.ts";
import type { Ask, SchedulePlace } from "../pool/asks.ts";
import type { ControlCommand } from "../protocol/pidbox.ts";
import type { CancelAnswer } from "../schedule/callback.ts";
import type { ResultSource } from "./async-result.ts";
import { valuesOf } from "./tombstones.ts";

export interface RevokeOptions {
  /** What runs is asked to end, and then killed. Default false. */
  readonly terminate?: boolean;
  /** What its process is sent with that. Default "SIGTERM". Celery: `signal`. */
  readonly signal?: NodeJS.Signals;
}

export interface BroadcastOptions {
  /** How long to wait for the next answer. Default 1 s. */
  readonly timeout?: Duration;
  /** Node names. Default: every worker. */
  readonly destination?: readonly string[];
  /** Workers whose name this means: a glob, or with `matcher: "pcre"` an expression for its beginning. */
  readonly pattern?: string;
  readonly matcher?: "glob" | "pcre";
}

export interface ControlSource extends ResultSource {
  readonly log: () => Pick<Logger, "warn">;
  /** The app's broker carries control commands. */
  readonly place: () => SchedulePlace;
}

export class Control {
  readonly #source: ControlSource;

  constructor(source: ControlSource) {
    this.#source = source;
  }

  /**
   * The tasks must not start any more, whoever has them: `AsyncResult.revoke`, for one id or several.
   * @returns what cancel answers, for each; "unknown" for one that is not in the schedule
   */
  async revoke(id: string, options?: RevokeOptions): Promise<CancelAnswer["answer"]>;
  async revoke(ids: readonly string[], options?: RevokeOptions): Promise<CancelAnswer["answer"][]>;
  async revoke(
    given: string | readonly string[],
    options: RevokeOptions = {},
  ): Promise<CancelAnswer["answer"] | CancelAnswer["answer"][]> {
    const ids = typeof given === "string" ? [given] : [...given];
    const answers = await revokeTasks(this.#source, ids, options);
    return typeof given === "string" ? (answers[0] ?? "unknown") : answers;
  }

  /** Revoke with `terminate`. */
  async terminate(id: string, signal: NodeJS.Signals = "SIGTERM"): Promise<CancelAnswer["answer"]> {
    return this.revoke(id, { terminate: true, signal });
  }

  /** Every task that carries one of these stamps: a header's name with its value, or a list of values. */
  async revokeByStampedHeaders(
    headers: Readonly<Record<string, unknown>>,
    { terminate = false, signal = "SIGTERM" }: RevokeOptions = {},
  ): Promise<void> {
    const { ask, clock, config } = this.#source;
    checkSignal(signal);
    if (Object.keys(headers).length === 0) throw new InvalidInputError("revokeByStampedHeaders names no header");
    const untilMs = clock.wallMs() + config().revokesExpireMs;
    for (const [header, value] of Object.entries(headers)) {
      for (const each of valuesOf(value)) {
        await ask("schedule.revokeStamp", { header, value: each, untilMs, abort: terminate });
      }
    }
    await tell(this.#source, {
      method: "revoke_by_stamped_headers",
      arguments: { headers, terminate, signal, lovage_schedule: placeName(this.#source.place()) },
    });
  }

  /** The workers that answer, by node name. */
  async ping(options: BroadcastOptions = {}): Promise<Record<string, unknown>> {
    return this.broadcast("ping", {}, options);
  }

  /**
   * Any of Celery's commands; what workers answer, by node name.
   * @throws {InvalidInputError} the broker is embedded, and carries no commands
   */
  async broadcast(
    method: string,
    given: Readonly<Record<string, unknown>> = {},
    { timeout = 1, ...whom }: BroadcastOptions = {},
  ): Promise<Record<string, unknown>> {
    const timeoutMs = parseDurationMs(timeout, "timeout");
    return this.#source.ask("control.call", { command: { method, arguments: given, ...whom }, timeoutMs });
  }
}

/** Write it down, then tell the workers. */
export async function revokeTasks(
  source: Omit<ControlSource, "log" | "place"> & Partial<Pick<ControlSource, "log" | "place">>,
  ids: readonly string[],
  { terminate = false, signal = "SIGTERM" }: RevokeOptions,
): Promise<CancelAnswer["answer"][]> {
  const { ask, clock, config } = source;
  checkSignal(signal);
  const untilMs = clock.wallMs() + config().revokesExpireMs;
  const revoke = (taskId: string) => ask("schedule.revoke", { taskId, untilMs, abort: terminate });
  const answers = (await inBatches(ids, revoke)).map(({ answer }) => answer);
  if (ids.length === 0) return answers;
  const ours = source.place === undefined ? {} : { lovage_schedule: placeName(source.place()) };
  await tell(source, {
    method: "revoke",
    arguments: { task_id: ids.length === 1 ? ids[0] : ids, terminate, signal, ...ours },
  });
  return answers;
}

/** Which schedule a revoke is already written in: a worker on the same need not write it again. */
export function placeName({ url, namespace }: SchedulePlace): string {
  return `${url} ${namespace}`;
}

/** The tombstone stands whatever becomes of this. */
async function tell(
  { ask, log }: { ask: Ask; log?: () => Pick<Logger, "warn"> },
  command: ControlCommand,
): Promise<void> {
  try {
    await ask("control.cast", { command });
  } catch (error) {
    log?.().warn(`workers could not be told to ${command.method}; those on this schedule know: ${messageOf(error)}`);
  }
}

function checkSignal(signal: string): void {
  if (signalOf(signal) === signal) return;
  throw new InvalidInputError(
    `signal is ${JSON.stringify(signal)}; give the name of one that there is, such as "SIGTERM"`,
  );
}
