/**
 * Scheduling inside a transaction of the caller's own: an order and its reminder are committed together, or not at all.
 *
 * One statement on the caller's connection does it, keys, limit, counts and hints and all; no store is open here, so it works as well in a
 * task's process. The statement waits for nobody but who holds the same key, and what it locks until the commit keeps no worker from
 * anything that runs. Errors of the client are the caller's own, and come as they are. It may notify, so the transaction cannot be one that
 * is prepared (two-phase commit): PostgreSQL refuses the two together.
 */
import { InvalidInputError } from "../../../kit/errors.ts";
import { StorePolicyError, StoreSchemaError } from "../../../kit/store-errors.ts";
import type { NewCallback, PutAnswer } from "../../callback.ts";
import { checkNewCallbacks } from "../../check.ts";
import { BackpressureError } from "../../errors.ts";
import { codeOf, rightsLine, wordsOf } from "./failure.ts";
import { indexed, quoted } from "./names.ts";
import { type PutTuple, putAnswersOf, putCallOf, putItemOf } from "./rows.ts";
import { parsePostgresUrl } from "./url.ts";

/** A connection on which a transaction was begun: of pg, or what postgres.js gives to the function of `sql.begin`. */
export type Transaction =
  | { query(text: string, values: unknown[]): PromiseLike<{ readonly rows: readonly unknown[] }> }
  | { unsafe(text: string, values: never[]): PromiseLike<readonly unknown[]> };

export interface TransactionalPut {
  /** URL of the schedule: where its schema is. The connection is the caller's. */
  readonly url: string;
  readonly namespace: string;
  /** 0 = no limit. */
  readonly maxPending: number;
}

/**
 * Add the callbacks when, and only when, the caller's transaction commits; an answer for each, in order.
 *
 * @throws {BackpressureError} the limit is reached; the transaction may go on
 * @throws {StoreSchemaError} the database of the transaction has no such schedule
 */
export async function putInTransaction(
  tx: Transaction,
  { url, namespace, maxPending }: TransactionalPut,
  callbacks: readonly NewCallback[],
): Promise<PutAnswer[]> {
  checkNewCallbacks(callbacks);
  checkTransaction(tx);
  if (callbacks.length === 0) return [];
  const place = parsePostgresUrl(url);
  const call = putCallOf(callbacks.map(putItemOf));
  const params = JSON.stringify({ ns: indexed(namespace), max: maxPending, calls: [call] });
  let answer: unknown;
  try {
    answer = await ask(tx, `SELECT ${quoted(place.schema)}.put($1::text::jsonb) AS answer`, params);
  } catch (error) {
    switch (codeOf(error)) {
      case "3F000":
      case "42883":
        throw new StoreSchemaError(
          `the database of the transaction has no schedule in schema ${JSON.stringify(place.schema)}: it must be that of ${place.shown}, which any worker or client of it makes ready (${wordsOf(error)})`,
          { cause: error },
        );
      case "42501":
        throw new StorePolicyError(rightsLine({ ...place, client: {} }, wordsOf(error)), { cause: error });
      default:
        throw error;
    }
  }
  const [answers] = (typeof answer === "string" ? JSON.parse(answer) : answer) as [PutTuple[] | number[] | null];
  if (answers === null) throw new BackpressureError(maxPending);
  return putAnswersOf(call, answers);
}

/** The one value that is asked for. */
async function ask(tx: Transaction, text: string, params: string): Promise<unknown> {
  const rows = "query" in tx ? (await tx.query(text, [params])).rows : await tx.unsafe(text, [params as never]);
  return (rows[0] as { readonly answer?: unknown } | undefined)?.answer;
}

/** A pool would run the statement on any connection, outside of the transaction, and nobody would notice. */
function checkTransaction(tx: Transaction): void {
  const given = tx as {
    query?: unknown;
    unsafe?: unknown;
    totalCount?: unknown;
    begin?: unknown;
    savepoint?: unknown;
  } | null;
  const isObject = (typeof given === "object" || typeof given === "function") && given !== null;
  if (!isObject || (typeof given.query !== "function" && typeof given.unsafe !== "function")) {
    throw new InvalidInputError(
      "tx must be the connection of the transaction: it has query(text, values), as pg's client, or unsafe(text, values), as postgres.js's sql",
    );
  }
  if (
    typeof given.totalCount === "number" ||
    (typeof given.begin === "function" && typeof given.savepoint !== "function")
  ) {
    throw new InvalidInputError(
      "tx is a pool, which has no transaction: give the client that sent BEGIN, or the sql that sql.begin gives",
    );
  }
}
