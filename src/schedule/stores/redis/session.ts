/** How the store speaks to its line: every script is told the moment, if that is not the server's to say, and who calls. */
import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../../../kit/clock.ts";
import { ClosedError, InvalidInputError } from "../../../kit/errors.ts";
import type { Logger } from "../../../kit/log.ts";
import { StoreSchemaError } from "../../../kit/store-errors.ts";
import { parseRedisUrl } from "../../../redis/url.ts";
import type { StoreLimits } from "../../store.ts";
import { Hints } from "./hints.ts";
import { type Call, DIAL, Line } from "./line.ts";
import { type Packable, Packer, type Unpacked } from "./pack.ts";
import { type Script, scripts } from "./scripts.ts";
import type { Server } from "./server.ts";

export interface SessionOptions {
  readonly namespace: string;
  readonly limits: StoreLimits;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  /** Undefined: the server's. */
  readonly clock: Clock | undefined;
  readonly connectMs: number;
  readonly answerMs: number;
}

/** The version of what lies in the server: see lua/table.ts. */
const SCHEMA = 1;

export class Session {
  readonly limits: StoreLimits;
  readonly line: Line;
  readonly hints: Hints;
  /** The name of this opening. */
  readonly me = randomUUID().slice(0, 8);
  readonly #clock: Clock | undefined;
  readonly #log: SessionOptions["log"];
  /** The highest number of a row that we know of. */
  #made = 0;
  #runId = "";
  #closed = false;

  /** @throws {InvalidInputError} the URL or the namespace */
  constructor(text: string, options: SessionOptions) {
    const { connectMs, answerMs, log } = options;
    const url = parseRedisUrl(text, "schedule");
    const key = keyOf(options.namespace);
    this.limits = options.limits;
    this.#clock = options.clock;
    this.#log = log;
    this.line = new Line({
      url,
      key,
      connectMs,
      answerMs,
      log,
      prepare: (call, server) => this.#prepare(call, server),
    });
    this.hints = new Hints({ ...DIAL, url, key, clock: systemClock, connectMs }, `${key}:changes`, this.me);
  }

  /** @throws {ClosedError} */
  refuseIfClosed(): void {
    if (this.#closed) throw new ClosedError(`the schedule ${this.line.shown} was closed`);
  }

  /** From now on nothing new is asked. */
  beginClosing(): void {
    this.#closed = true;
  }

  /** Rows up to this number were made. */
  noteMade(n: number): void {
    if (n > this.#made) this.#made = n;
  }

  /** @param what the change, for the error that says that its outcome is unknown */
  async ask(script: Script, params: readonly Packable[], what?: string): Promise<Unpacked> {
    this.refuseIfClosed();
    return this.send(script, params.length, (packer) => params.forEach((each) => void packer.value(each)), what);
  }

  /** Also while it is closing. @param write writes so many parameters */
  send(script: Script, count: number, write: (packer: Packer) => void, what?: string): Promise<Unpacked> {
    return this.line.call(script, this.#packed(count, write), what);
  }

  #packed(count: number, write: (packer: Packer) => void): Buffer {
    const packer = new Packer();
    packer.list(2 + count);
    packer.value(this.#clock === undefined ? false : this.#clock.wallMs());
    packer.text(this.me);
    write(packer);
    return packer.take();
  }

  /** What lies in the server, whenever it is a new connection. */
  async #prepare(call: Call, { runId }: Server): Promise<void> {
    const answer = await call(
      scripts.open,
      this.#packed(1, (packer) => packer.number(SCHEMA)),
    );
    const [schema, made] = answer as [number, number];
    const { shown } = this.line;
    if (schema > SCHEMA) {
      throw new StoreSchemaError(
        `the schedule in ${shown} was made by a newer Lovage (its schema is ${schema}, ours ${SCHEMA}): upgrade this one`,
      );
    }
    if (made < this.#made) {
      const how = runId === this.#runId ? "its data was removed" : "another server, or one that was started again,";
      this.#log.error(
        `The schedule in ${shown} has lost what it acknowledged: ${how} knows ${made} of at least ${this.#made} callbacks`,
      );
    }
    this.#made = made;
    this.#runId = runId;
  }
}

/** Braces make the namespace one slot of a Cluster. @throws {InvalidInputError} */
function keyOf(namespace: string): string {
  if (namespace === "" || !namespace.isWellFormed()) {
    throw new InvalidInputError(`the namespace of a schedule must be a text, not ${JSON.stringify(namespace)}`);
  }
  return `{lovage:${namespace.replace(/[{}%]/g, encodeURIComponent)}}`;
}
