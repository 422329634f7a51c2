/**
 * What an operator does with messages that could not be run: look at them, send them again once the cause is mended, drop
 * them. `app.quarantine`; the command line's `lovage quarantine` does the same.
 */
import { ContractError, InvalidInputError } from "../kit/errors.ts";
import type { WireMessage } from "../protocol/message.ts";
import type { Quarantine, Quarantined } from "../quarantine/quarantine.ts";
import type { Producer } from "./producer.ts";

/** No message of that id is in quarantine. */
export class UnknownQuarantinedError extends ContractError {
  readonly code = "ERR_UNKNOWN_QUARANTINED";
}

/** Not all of the message is kept: what is left of it cannot be sent. */
export class QuarantinedTruncatedError extends ContractError {
  readonly code = "ERR_QUARANTINED_TRUNCATED";
}

/** Which of them; all that is given must fit. */
export interface QuarantineFilter {
  /** Code of the refusal, such as "ERR_UNKNOWN_TASK". */
  readonly code?: string;
  readonly queue?: string;
  /** Name of the task, as far as it could be read. */
  readonly task?: string;
}

export interface AppQuarantineOptions {
  readonly open: () => Promise<Quarantine>;
  readonly producer: () => Producer;
}

/** Records of one page when all are walked. */
const PAGE = 200;

export class AppQuarantine {
  readonly #options: AppQuarantineOptions;

  constructor(options: AppQuarantineOptions) {
    this.#options = options;
  }

  /** Newest first, those that are there while it is walked. */
  async *list(filter: QuarantineFilter = {}): AsyncGenerator<Quarantined, void, undefined> {
    const quarantine = await this.#options.open();
    let before: string | undefined;
    for (;;) {
      const page = await quarantine.list({ limit: PAGE, ...(before === undefined ? {} : { before }) });
      for (const each of page) if (fits(each, filter)) yield each;
      before = page.at(-1)?.id;
      if (before === undefined) return;
    }
  }

  /** @throws {UnknownQuarantinedError} */
  async get(id: string): Promise<Quarantined> {
    const record = await (await this.#options.open()).get(id);
    if (record === undefined) throw unknown(id);
    return record;
  }

  async count(): Promise<number> {
    return (await this.#options.open()).count();
  }

  /**
   * Send it again, as it came: properties, headers and body; without the `expiration` of its first journey. It leaves the
   * quarantine when the broker has it, so that it may come twice, and is never lost in between.
   *
   * @param options.queue default: the one that it came from
   * @throws {UnknownQuarantinedError}
   * @throws {QuarantinedTruncatedError} not all of its body is kept
   */
  async retry(id: string, options: { readonly queue?: string } = {}): Promise<Quarantined> {
    const quarantine = await this.#options.open();
    const record = await this.get(id);
    if (record.truncated) {
      throw new QuarantinedTruncatedError(`message ${id} cannot be sent again: ${record.reason}`);
    }
    const queue = options.queue ?? record.queue;
    if (queue === "") throw new InvalidInputError(`message ${id} names no queue: say which one it is to be sent to`);
    await this.#options.producer().publish({ exchange: "", routingKey: queue }, wireOf(record));
    await quarantine.drop(id);
    return record;
  }

  /** @throws {UnknownQuarantinedError} */
  async drop(id: string): Promise<void> {
    if (!(await (await this.#options.open()).drop(id))) throw unknown(id);
  }
}

function fits(record: Quarantined, { code, queue, task }: QuarantineFilter): boolean {
  return (
    (code === undefined || record.code === code) &&
    (queue === undefined || record.queue === queue) &&
    (task === undefined || record.task === task)
  );
}

function wireOf({ properties, headers, body }: Quarantined): WireMessage {
  // What is left of that time says nothing about now: "0" would let the broker drop the message at once.
  const { expiration: _, ...kept } = properties;
  return { properties: kept, headers: withBytes(headers) as WireMessage["headers"], body };
}

/** The quarantine keeps bytes in headers as `{ base64 }`. */
function withBytes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withBytes);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  const [only] = entries;
  if (entries.length === 1 && only?.[0] === "base64" && typeof only[1] === "string")
    return Buffer.from(only[1], "base64");
  return Object.fromEntries(entries.map(([name, each]) => [name, withBytes(each)]));
}

function unknown(id: string): UnknownQuarantinedError {
  return new UnknownQuarantinedError(
    `no message ${JSON.stringify(id)} is in quarantine; "lovage quarantine list" shows what is`,
  );
}
