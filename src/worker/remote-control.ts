/**
 * The commands that a worker takes from its mailbox, by Celery's names, and what it answers (PROTOCOL 14.4). What a Python client revokes is
 * written in the schedule, so that it lasts and reaches every worker of ours.
 */
import { placeName } from "../app/control.ts";
import { stampsOf, valuesOf } from "../app/tombstones.ts";
import type { Command } from "../control/mailbox.ts";
import { inBatches } from "../kit/batches.ts";
import { InvalidInputError } from "../kit/errors.ts";
import { signalOf } from "../kit/signals.ts";
import type { Ask, SchedulePlace } from "../pool/asks.ts";
import type { TaskMessage } from "../protocol/message.ts";
import { quoted } from "../protocol/refusal.ts";
import { pyRepr } from "../protocol/repr.ts";
import type { Firing } from "./fire.ts";
import type { Request } from "./request.ts";

/** How long a task that is to end may take to end by itself; then its process is sent the signal, and then killed. */
export const ABORT_GRACE_MS = 5_000;

export interface RemoteControlOptions {
  readonly ask: Ask;
  readonly requests: ReadonlySet<Request>;
  /** Callbacks that run: `end` ends those that are meant, and answers their task ids. */
  readonly callbacks: Pick<Firing, "end">;
  /** When a tombstone is forgotten, ms UTC. */
  readonly untilMs: () => number;
  readonly place: SchedulePlace;
  /** How long a task may take to end by itself, ms. */
  readonly graceMs: number;
}

type Given = Readonly<Record<string, unknown>>;

export function remoteControl(options: RemoteControlOptions): ReadonlyMap<string, Command> {
  const revoke = (given: Given) => revokeIds(options, given);
  return new Map<string, Command>([
    ["ping", () => ({ ok: "pong" })],
    ["revoke", revoke],
    ["terminate", (given) => revoke({ ...given, terminate: true })],
    ["revoke_by_stamped_headers", (given) => revokeStamps(options, given)],
  ]);
}

async function revokeIds(options: RemoteControlOptions, given: Given): Promise<Given> {
  const ids = (Array.isArray(given.task_id) ? given.task_id : [given.task_id]).map(idOf);
  const { terminate, signal } = endOf(given);
  // Who looks learns of the end as well, so what is sent to the process goes first.
  const meant = new Set(ids);
  const ended = terminate ? end(options, ({ id }) => meant.has(id), signal) : [];
  if (!isWritten(options, given)) {
    const untilMs = options.untilMs();
    await inBatches(ids, (taskId) => options.ask("schedule.revoke", { taskId, untilMs, abort: terminate }));
  }
  if (!terminate) return { ok: `tasks ${pyRepr(meant)} flagged as revoked` };
  return { ok: `terminate: ${ended.length === 0 ? "tasks unknown" : ended.join(", ")}` };
}

async function revokeStamps(options: RemoteControlOptions, given: Given): Promise<Given> {
  const headers = headersOf(given.headers);
  const { terminate, signal } = endOf(given);
  const carries = (message: TaskMessage) =>
    stampsOf(message.headers).some(([header, value]) => valuesOf(headers[header] ?? []).includes(value));
  const ended = terminate ? end(options, carries, signal) : [];
  if (!isWritten(options, given)) {
    for (const [header, value] of Object.entries(headers)) {
      for (const each of valuesOf(value)) {
        await options.ask("schedule.revokeStamp", {
          header,
          value: each,
          untilMs: options.untilMs(),
          abort: terminate,
        });
      }
    }
  }
  const shown = pyRepr(headers);
  if (!terminate) return { ok: `headers ${shown} flagged as revoked, but not terminated` };
  return { ok: ended.length === 0 ? `headers ${shown} were not terminated` : `headers ${shown} revoked` };
}

function end(
  options: RemoteControlOptions,
  isMeant: (message: TaskMessage) => boolean,
  signal: NodeJS.Signals,
): string[] {
  const graceMs = signal === "SIGKILL" ? 0 : options.graceMs;
  const meant = [...options.requests].filter((each) => each.running && isMeant(each.message));
  for (const each of meant) each.end("terminated", graceMs, signal);
  return [...meant.map(({ message }) => message.id), ...options.callbacks.end(isMeant, "terminated", graceMs, signal)];
}

/** By a client on the same schedule. */
function isWritten({ place }: RemoteControlOptions, { lovage_schedule: schedule }: Given): boolean {
  return schedule === placeName(place);
}

function idOf(id: unknown): string {
  if (typeof id === "string" && id !== "") return id;
  if (typeof id === "number") return String(id);
  throw new InvalidInputError(`task_id is ${JSON.stringify(id) ?? "missing"}; it is a text, or a list of texts`);
}

function endOf({ terminate, signal }: Given): { terminate: boolean; signal: NodeJS.Signals } {
  if (terminate !== true) return { terminate: false, signal: "SIGTERM" };
  const found = signalOf(signal ?? "SIGTERM");
  if (found !== undefined) return { terminate: true, signal: found };
  throw new InvalidInputError(`signal is ${quoted(signal)}; give the name of one that there is, such as "SIGTERM"`);
}

/** A table, or a list of texts "name=value". */
function headersOf(given: unknown): Record<string, unknown> {
  if (typeof given === "object" && given !== null && !Array.isArray(given)) return { ...given };
  if (!Array.isArray(given))
    throw new InvalidInputError(`headers is ${JSON.stringify(given) ?? "missing"}; it is a table`);
  const headers: Record<string, string[]> = {};
  for (const each of given) {
    const [name = "", ...value] = String(each).split("=");
    headers[name] = [...(headers[name] ?? []), value.join("=")];
  }
  return headers;
}
