/**
 * Where results wait: one document for each task id, as Celery's backends keep it (PROTOCOL 10.2).
 * A stored SUCCESS is never overwritten; any other state is.
 */
import type { TaskMessage } from "../protocol/message.ts";
import type { ResultDocument } from "../protocol/result.ts";

/** Who waits for a result, for a backend that sends it there (rpc): properties of the task's message. */
export interface ResultAddress {
  /** Queue of the client. Absent or "": nobody waits. */
  readonly replyTo?: string;
  readonly correlationId?: string;
}

/** Where the result of the message goes. */
export function addressOf({ replyTo, correlationId }: TaskMessage): ResultAddress {
  return {
    ...(replyTo === undefined ? {} : { replyTo }),
    ...(correlationId === undefined ? {} : { correlationId }),
  };
}

export interface ResultBackend {
  /** The URL as it may be shown. */
  readonly url: string;
  /**
   * Keep the document under its task id. Resolves when it is durable, as the backend is.
   * @param expiresMs how long it is kept, ms from now; 0 = for ever
   * @param address where a backend that keeps nothing sends it; the others pass it over
   */
  store(document: ResultDocument, expiresMs: number, address?: ResultAddress): Promise<void>;
  /**
   * Where results of what this process sends are to go; resolves when they are heard there. Called before a task is sent.
   * Absent: the backend keeps results, and nobody needs an address.
   *
   * @param taskId its result is to come: for each task whose result somebody may wait for here
   */
  replyTo?(taskId?: string): Promise<string>;
  /** The document as it stands; undefined when none is stored (Celery: PENDING). */
  get(taskId: string): Promise<ResultDocument | undefined>;
  /**
   * Call `onChange` with the document now standing, before the promise resolves, and with each later one, until `stop` is
   * called or the backend is closed. No change is missed between the two; of changes that another process makes in quick
   * succession only the last may be told. Forgetting and expiring are not told. Backends are subscribed to, not polled.
   */
  watch(taskId: string, onChange: (document: ResultDocument) => void): Promise<{ stop(): void }>;
  /** Remove the document. Removing none is no error. */
  forget(taskId: string): Promise<void>;
  /** Remove some documents past their time; answers how many. Small steps: at most `limit`. */
  sweep(limit: number): Promise<number>;
  close(): Promise<void>;
}
