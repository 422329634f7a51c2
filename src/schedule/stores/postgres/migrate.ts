/**
 * Bringing our schema to the version that this code works with.
 *
 * Each migration is one transaction, its number among its writes, under an advisory lock that ends with it: whoever is killed between any
 * two statements leaves the old version whole, and of several that open at once one migrates while the others wait. A released
 * migration is never changed. A later one that gives an operation other parameters gives it another name, so that processes that have
 * the schema open go on.
 */
import { StorePolicyError, StoreSchemaError } from "../../../kit/store-errors.ts";
import { codeOf, type Place, rightsLine, wordsOf } from "./failure.ts";
import { channelOf, quoted } from "./names.ts";
import type { Querier } from "./pool.ts";
import { cancel } from "./schema/cancel.ts";
import { claim } from "./schema/claim.ts";
import { moves } from "./schema/moves.ts";
import { put } from "./schema/put.ts";
import { recurrences } from "./schema/recurrences.ts";
import { rules } from "./schema/rules.ts";
import { settle } from "./schema/settle.ts";
import { sweep } from "./schema/sweep.ts";
import { tables } from "./schema/tables.ts";

/** The statements of each migration, the first at 0. */
export function migrationsOf(schema: string): string[][] {
  const s = quoted(schema);
  return [
    [
      ...tables(s),
      // The functions of a file in one trip.
      ...[rules(s), moves(s, channelOf(schema)), claim(s), put(s), settle(s), cancel(s), recurrences(s), sweep(s)].map(
        (functions) => functions.join(";\n"),
      ),
    ],
  ];
}

export function currentVersion(schema: string): number {
  return migrationsOf(schema).length;
}

/** @throws {StoreSchemaError} the schema is of a newer Lovage, or somebody else's @throws {StorePolicyError} a right is missing */
export async function migrate(querier: Querier, place: Place): Promise<void> {
  const migrations = migrationsOf(place.schema);
  for (let version = await versionIn(querier, place); version < migrations.length; ) {
    try {
      version = await migrateOnce(querier, place, migrations);
    } catch (error) {
      await querier.query("ROLLBACK").catch(() => undefined);
      if (codeOf(error) === "42501") throw new StorePolicyError(rightsLine(place, wordsOf(error)), { cause: error });
      if (codeOf(error) === "42P07" || codeOf(error) === "42710" || codeOf(error) === "42723") {
        throw new StoreSchemaError(
          `the schema ${JSON.stringify(place.schema)} of ${place.shown} holds what is not ours (${wordsOf(error)}): give another one by ?schema=`,
          { cause: error },
        );
      }
      throw error;
    }
  }
}

/** One migration, if one is needed still when the lock is ours; the version that stands then. */
async function migrateOnce(
  querier: Querier,
  place: Place,
  migrations: readonly (readonly string[])[],
): Promise<number> {
  const s = quoted(place.schema);
  await querier.query("BEGIN ISOLATION LEVEL READ COMMITTED");
  await querier.query(
    "SELECT set_config('search_path', 'pg_catalog, pg_temp', true), set_config('lock_timeout', '0', true)",
  );
  await querier.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 7060341))", [
    `lovage migrates ${place.schema}`,
  ]);
  const version = await versionIn(querier, place);
  const statements = migrations[version];
  if (statements !== undefined) {
    if (version === 0) {
      // Made by an administrator beforehand, perhaps, for a user who may not.
      const { rows } = await querier.query("SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1", [place.schema]);
      if (rows.length === 0) await querier.query(`CREATE SCHEMA ${s}`);
      await querier.query(
        `CREATE TABLE ${s}.migrations (version integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())`,
      );
    }
    for (const statement of statements) await querier.query(statement);
    await querier.query(`INSERT INTO ${s}.migrations (version) VALUES ($1)`, [version + 1]);
  }
  await querier.query("COMMIT");
  return statements === undefined ? version : version + 1;
}

/** Read from the catalog as it is now: what to_regclass says may be older than the lock. */
async function versionIn(querier: Querier, place: Place): Promise<number> {
  const s = quoted(place.schema);
  const { rows } = await querier.query(
    "SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'migrations'",
    [place.schema],
  );
  if (rows.length === 0) return 0;
  const found = await querier.query(`SELECT max(version) AS version FROM ${s}.migrations`);
  const version = Number(found.rows[0]?.version ?? 0);
  refuseNewer(version, place);
  return version;
}

/** @throws {StoreSchemaError} */
export function refuseNewer(version: number, place: Place): void {
  const current = currentVersion(place.schema);
  if (version <= current) return;
  throw new StoreSchemaError(
    `the schema ${JSON.stringify(place.schema)} of ${place.shown} is of version ${version}, made by a newer Lovage; this one knows up to ${current}: update it, or give another schema`,
  );
}
