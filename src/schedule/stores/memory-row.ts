/** One callback in the memory store. */
import type { Callback, CallbackState, Misfire, NewCallback, OnLost, ParkedMessage } from "../callback.ts";
import { distinctTags } from "../check.ts";

export class MemoryRow {
  /** Order of making. */
  readonly n: number;
  readonly id: string;
  readonly key: string | undefined;
  readonly createdMs: number;
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
  abort: "none" | "requested" | "taken" = "none";
  owner: string | undefined;
  claimedMs: number | undefined;
  leaseUntilMs = 0;
  endedMs: number | undefined;
  /** When it may be removed; undefined while it is live. */
  forgetMs: number | undefined;
  reason: string | undefined;

  constructor(n: number, id: string, callback: NewCallback, nowMs: number) {
    this.n = n;
    this.id = id;
    this.key = callback.key;
    this.createdMs = nowMs;
    this.message = callback.message;
    this.take(callback);
  }

  get taskId(): string {
    return this.takenOver?.taskId ?? this.id;
  }

  get task(): string {
    return this.message.task;
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
