/**
 * Results as messages to whoever sent the task, over the app's broker: Celery's `rpc://` (PROTOCOL 10.4). A process has one queue for
 * all of its results, by a name of its own; the worker sends each state there, and nothing to a task that names no queue.
 *
 * What has come is kept here, for waits, until it expires; nobody else can read it. Results that are under way when the connection is
 * lost are lost with the queue, as in Celery: keep results in Redis where that matters.
 */
import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../kit/clock.ts";
import { ClosedError, ContractError, messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import type { ContentFormat } from "../protocol/content/format.ts";
import { JSON_FORMAT } from "../protocol/content/json.ts";
import { ACCEPT_JSON, type Accepted } from "../protocol/content.ts";
import type { WireMessage } from "../protocol/message.ts";
import { READY_STATES, type ResultDocument } from "../protocol/result.ts";
import type { ResultAddress, ResultBackend } from "./backend.ts";
import { checkStore, checkTaskId } from "./check.ts";
import type { ReplyCarrier } from "./rpc/carrier.ts";
import { Expected } from "./rpc/expected.ts";
import { documentOf, replyOf, replyQueue } from "./rpc/message.ts";
import { ResultTable } from "./table.ts";
import { TableHandle } from "./table-handle.ts";

export type { ReplyCarrier, ReplyQueue } from "./rpc/carrier.ts";

export interface RpcResultsOptions {
  readonly carrier: ReplyCarrier;
  /** How long what has come is kept, and the queue without its consumer, ms; 0 = for ever. */
  readonly expiresMs: number;
  /** Celery's `result_persistent`: messages survive a restart of the broker. Default false. */
  readonly persistent?: boolean;
  /** How results are written. Default JSON. */
  readonly format?: ContentFormat;
  /** What is read. Default JSON. */
  readonly accept?: Accepted;
  /** Of the queue. Default: a new UUID. */
  readonly name?: string;
  readonly clock?: Clock;
  readonly log?: Pick<Logger, "warn">;
  /** Kept at most; the oldest go first. Default 100,000 documents, 128 Mi characters. */
  readonly maxDocuments?: number;
  readonly maxChars?: number;
}

/** The result of the task goes to the process that sent it, which is another one. */
export class ResultElsewhereError extends ContractError {
  readonly code = "ERR_RESULT_ELSEWHERE";
}

const MAX_DOCUMENTS = 100_000;
const MAX_CHARS = 128 * 1024 * 1024;
/** Tasks that were sent and have not been heard of. */
const MAX_EXPECTED = 100_000;
/** It is said so often at most that results were dropped, ms. */
const TELL_MS = 60_000;

export class RpcResults implements ResultBackend {
  readonly url = "rpc://";
  /** Of the queue that results of this process come to: Celery's oid. */
  readonly name: string;
  readonly #options: RpcResultsOptions;
  readonly #clock: Clock;
  readonly #table = new ResultTable();
  readonly #expected = new Expected(MAX_EXPECTED);
  readonly #handle: TableHandle;
  #listening: Promise<void> | undefined;
  #dropped = 0;
  #toldMs = Number.NEGATIVE_INFINITY;
  #closing: Promise<void> | undefined;

  constructor(options: RpcResultsOptions) {
    this.#options = options;
    this.name = options.name ?? randomUUID();
    this.#clock = options.clock ?? systemClock;
    this.#handle = new TableHandle(this.#table, this.#clock);
  }

  async replyTo(taskId?: string): Promise<string> {
    this.#checkOpen();
    if (this.#listening === undefined) {
      const queue = replyQueue(this.name, this.#options.expiresMs);
      const listening = this.#options.carrier.listen(queue, (message) => this.#hear(message));
      this.#listening = listening;
      listening.catch(() => {
        if (this.#listening === listening) this.#listening = undefined;
      });
    }
    await this.#listening;
    if (taskId !== undefined) this.#expected.add(taskId);
    return this.name;
  }

  async store(document: ResultDocument, expiresMs: number, address: ResultAddress = {}): Promise<void> {
    this.#checkOpen();
    checkStore(document, expiresMs);
    const { replyTo = "", correlationId = "" } = address;
    const { carrier, persistent = false, format = JSON_FORMAT } = this.#options;
    const message = replyOf(document, correlationId || document.task_id, { persistent, format });
    if (replyTo !== "") await carrier.publish(replyTo, message);
  }

  /** Of what has come to this process. */
  async get(taskId: string): Promise<ResultDocument | undefined> {
    this.#checkOpen();
    return this.#handle.get(taskId);
  }

  /** @throws {ResultElsewhereError} this process did not send the task, or its result has expired here: it will never come */
  async watch(taskId: string, onChange: (document: ResultDocument) => void): Promise<{ stop(): void }> {
    this.#checkOpen();
    checkTaskId(taskId);
    if (!this.#handle.has(taskId) && !this.#expected.mayCome(taskId)) {
      throw new ResultElsewhereError(
        `no result of task ${JSON.stringify(taskId)} will come to this process: with rpc:// a result goes to the process that sent the task, which keeps it until it expires; wait for it there, or keep results in Redis (backend "redis://…")`,
      );
    }
    return this.#handle.watch(taskId, onChange);
  }

  async forget(taskId: string): Promise<void> {
    this.#checkOpen();
    this.#handle.forget(taskId);
  }

  async sweep(limit: number): Promise<number> {
    this.#checkOpen();
    return this.#handle.sweep(limit);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#handle.close();
    await this.#options.carrier.close();
  }

  /** Must not throw: it is the carrier that calls. */
  #hear(message: WireMessage): void {
    if (this.#closing !== undefined) return;
    let document: ResultDocument;
    try {
      document = documentOf(message, this.#options.accept ?? ACCEPT_JSON);
      checkTaskId(document.task_id);
    } catch (error) {
      const whose = message.properties.correlationId ?? "an unknown task";
      this.#options.log?.warn(`A result of ${whose} came that cannot be read; it is dropped: ${messageOf(error)}`);
      return;
    }
    const { task_id: taskId, status } = document;
    if (READY_STATES.has(status)) this.#expected.delete(taskId);
    this.#handle.keep(document, this.#options.expiresMs);
    this.#makeRoom();
  }

  #makeRoom(): void {
    const { maxDocuments = MAX_DOCUMENTS, maxChars = MAX_CHARS, log } = this.#options;
    while (this.#table.size > maxDocuments || (this.#table.chars > maxChars && this.#table.size > 1)) {
      this.#table.removeOldest();
      this.#dropped += 1;
    }
    if (this.#dropped === 0 || this.#clock.monoMs() < this.#toldMs + TELL_MS) return;
    this.#toldMs = this.#clock.monoMs();
    log?.warn(
      `${this.#dropped} results that had come were dropped: more than ${maxDocuments} wait to be read; send with ignoreResult what nobody reads, or forget what was read`,
    );
    this.#dropped = 0;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new ClosedError(`the result backend ${this.url} was closed: open it again`);
  }
}
