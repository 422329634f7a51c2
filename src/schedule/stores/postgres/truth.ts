/**
 * What the server behind a connection is, looked at when the store is opened and at each new connection (SEMANTICS G18): its version, our
 * schema's, its isolation, and how durable it is.
 */
import { StorePolicyError, StoreSchemaError } from "../../../kit/store-errors.ts";
import type { Durability } from "../../store.ts";
import { type Place, rightsLine } from "./failure.ts";
import { quoted } from "./names.ts";
import type { Querier } from "./pool.ts";

export const LEAST_VERSION = 150_000;

export interface Truth {
  readonly durability: Durability;
  /** Commits wait for the disk unless we ask for it: `synchronous_commit` is off, and we turn it on for our own. */
  readonly mustAskForSync: boolean;
  /** Version of our schema; 0: there is none. */
  readonly schemaVersion: number;
}

const SETTINGS = `
  SELECT current_setting('server_version_num')::integer AS version, current_setting('server_version') AS version_text,
    pg_is_in_recovery() AS is_replica, current_setting('transaction_read_only') AS read_only,
    current_setting('transaction_isolation') AS isolation, current_setting('server_encoding') AS encoding,
    current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    to_regclass($1) IS NOT NULL AS has_schema, to_regnamespace($2) IS NOT NULL AS has_namespace,
    coalesce(has_schema_privilege(to_regnamespace($2)::oid, 'USAGE'), true) AS may_use`;

/** @throws {StoreSchemaError} {StorePolicyError} it cannot be used */
export async function lookAt(querier: Querier, place: Place): Promise<Truth> {
  const name = quoted(place.schema);
  const { rows } = await querier.query(SETTINGS, [`${name}.migrations`, name]);
  const found = rows[0] as Record<string, string> & {
    readonly version: number;
    readonly is_replica: boolean;
    readonly has_schema: boolean;
    readonly may_use: boolean;
  };
  if (found.version < LEAST_VERSION) {
    throw new StoreSchemaError(`${place.shown} is PostgreSQL ${found.version_text}: 15 or newer is needed`);
  }
  if (found.encoding !== "UTF8") {
    throw new StoreSchemaError(
      `${place.shown} is encoded in ${found.encoding}: create the database with ENCODING 'UTF8'`,
    );
  }
  if (found.is_replica) {
    throw new StorePolicyError(`${place.shown} is a read-only replica: name the primary`);
  }
  if (found.read_only === "on") {
    throw new StorePolicyError(
      `${place.shown} is read-only: default_transaction_read_only is on for this user or database`,
    );
  }
  if (found.isolation !== "read committed") {
    throw new StorePolicyError(
      `${place.shown} has default_transaction_isolation ${JSON.stringify(found.isolation)}: set it to 'read committed' for the role (ALTER ROLE … SET …); who waits for a row must then see it as it is`,
    );
  }
  if (!found.may_use) throw new StorePolicyError(rightsLine(place, `no USAGE on schema ${name}`));
  return {
    // Without fsync, or with torn pages, a loss of power may take what was acknowledged; a process that dies takes nothing.
    durability: found.fsync === "on" && found.full_page_writes === "on" ? "strict" : "process",
    mustAskForSync: found.synchronous_commit === "off",
    schemaVersion: found.has_schema ? await versionOf(querier, place) : 0,
  };
}

async function versionOf(querier: Querier, { schema }: Place): Promise<number> {
  const { rows } = await querier.query(`SELECT max(version) AS version FROM ${quoted(schema)}.migrations`);
  return Number(rows[0]?.version ?? 0);
}
