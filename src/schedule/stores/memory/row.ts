/** One callback in the memory store. */
import type {
  Callback,
  CallbackState,
  Misfire,
  NewCallback,
  Occurrence,
  OnLost,
  Overlap,
  ParkedMessage,
} from "../../callback.ts";
import { distinctTags } from "../../check.ts";

export class MemoryRow {
  /** Order of making. */
  readonly n: number;
  readonly id: string;
  readonly key: string | undefined;
  readonly createdMs: number;
  readonly occurrence: Occurrence | undefined;
  /** It is an occurrence that waits until an earlier one has ended. */
  held = false;
  /** Identity of the message that was taken over from a broker: its task id, and its retries as it arrived. */
  takenOver: { readonly taskId: string; readonly retries: number } | undefined;
  state: CallbackState = "scheduled";
  dueMs = 0;
  expiresMs: number | null = null;
  misfire: Misfire = "fire";
  graceMs = 0;
  onLost: OnLost = "rerun";
  queue = "";
  tags: readonly string[] = [];
  message: ParkedMessage;
  attempts = 0;
  token = 0;
  crashes = 0;
  losses = 0;
  /** "unwanted": its recurrence was cancelled; nobody asks it to stop, but it does not run again. */
  abort: "none" | "unwanted" | "requested" | "taken" = "none";
  owner: string | undefined;
  claimedMs: number | undefined;
  leaseUntilMs = 0;
  endedMs: number | undefined;
  /** When it may be removed; undefined while it is live. */
  forgetMs: number | undefined;
  reason: string | undefined;

  constructor(n: number, id: string, callback: NewCallback, nowMs: number, occurrence?: Occurrence) {
    this.n = n;
    this.id = id;
    this.key = callback.key;
    this.createdMs = nowMs;
    this.occurrence = occurrence;
    this.message = callback.message;
    this.take(callback);
  }

  get taskId(): string {
    return this.takenOver?.taskId ?? this.id;
  }

  get task(): string {
    return this.message.task;
  }

  get recurrence(): string | undefined {
    return this.occurrence?.recurrence;
  }

  get nominalMs(): number | null {
    return this.occurrence?.nominalMs ?? null;
  }

  get overlap(): Overlap {
    return this.occurrence?.overlap ?? "allow";
  }

  /** Be this call from now on: a new one, or in place of another. */
  take(callback: NewCallback): void {
    const { taskId, message } = callback;
    this.takenOver = taskId === undefined ? undefined : { taskId, retries: message.retries };
    this.dueMs = callback.dueMs;
    this.expiresMs = callback.expiresMs ?? null;
    this.misfire = callback.misfire ?? "fire";
    this.graceMs = callback.graceMs ?? 0;
    this.onLost = callback.onLost ?? "rerun";
    this.queue = callback.queue;
    this.tags = distinctTags(callback.tags);
    this.message = copyOf(message);
  }

  toCallback(): Callback {
    return {
      id: this.id,
      ...(this.key === undefined ? {} : { key: this.key }),
      taskId: this.taskId,
      state: this.state,
      dueMs: this.dueMs,
      ...(this.expiresMs === null ? {} : { expiresMs: this.expiresMs }),
      misfire: this.misfire,
      graceMs: this.graceMs,
      onLost: this.onLost,
      queue: this.queue,
      tags: this.tags,
      message: this.message,
      ...(this.occurrence === undefined ? {} : { occurrence: this.occurrence }),
      attempts: this.attempts,
      token: this.token,
      createdMs: this.createdMs,
      ...(this.claimedMs === undefined ? {} : { claimedMs: this.claimedMs }),
      ...(this.state === "running" ? { leaseUntilMs: this.leaseUntilMs } : {}),
      ...(this.endedMs === undefined ? {} : { endedMs: this.endedMs }),
      ...(this.reason === undefined ? {} : { reason: this.reason }),
    };
  }
}

/** As it would come back from a disk: nobody's later change shows in it, and what is undefined is left out. */
export function copyOf(message: ParkedMessage): ParkedMessage {
  return JSON.parse(JSON.stringify(message));
}
