/** Opening the schedule in PostgreSQL: the URL, the first connection, our schema, the namespace; and what each later connection must be like. */
import type { Clock } from "../../../kit/clock.ts";
import { InvalidInputError } from "../../../kit/errors.ts";
import { type Logger, silentLogger } from "../../../kit/log.ts";
import { StoreSchemaError, StoreUnavailableError } from "../../../kit/store-errors.ts";
import { limitsOf } from "../../limits.ts";
import type { Durability, StoreLimits } from "../../store.ts";
import { AnswerLostError, isRolledBack, type Place, statementFailure } from "./failure.ts";
import { Hints } from "./hints.ts";
import { currentVersion, migrate, refuseNewer } from "./migrate.ts";
import { channelOf, indexed } from "./names.ts";
import { loadPg, PostgresPool } from "./pool.ts";
import { Session } from "./session.ts";
import { lookAt } from "./truth.ts";
import { parsePostgresUrl } from "./url.ts";

export interface PostgresScheduleOptions {
  /** Keys are unique, and claims are made, within it. Default "lovage". */
  readonly namespace?: string;
  readonly limits?: Partial<StoreLimits>;
  readonly log?: Pick<Logger, "warn">;
  /** The store's clock: a test's. Default: the server's. */
  readonly clock?: Clock;
  /** Connections at most, the one for hints not counted. Default 6. */
  readonly connections?: number;
  /** How long connecting may take, ms. Default 5,000. */
  readonly connectMs?: number;
  /** How long an operation may take on the server, ms. Default 20,000. */
  readonly answerMs?: number;
  /** How long to wait for another transaction's lock, ms. Default 5,000. */
  readonly lockWaitMs?: number;
}

const CONNECTIONS = 6;
const CONNECT_MS = 5_000;
const ANSWER_MS = 20_000;
const LOCK_WAIT_MS = 5_000;
/** Of all migrations, those of others that are waited for among them. */
const MIGRATE_MS = 120_000;

export interface PostgresConnections {
  /** The URL as it may be shown. */
  readonly shown: string;
  /** As the newest connection found it. */
  readonly durability: Durability;
  readonly pool: PostgresPool;
  readonly session: Session;
  /** Undefined: they are not wanted. */
  readonly hints: Hints | undefined;
}

export async function openConnections(url: string, options: PostgresScheduleOptions): Promise<PostgresConnections> {
  const place = parsePostgresUrl(url);
  const limits = limitsOf(options.limits);
  const namespace = options.namespace ?? "lovage";
  if (namespace === "" || !namespace.isWellFormed() || namespace.includes("\0")) {
    throw new InvalidInputError(`the namespace of a schedule must be a text, not ${JSON.stringify(namespace)}`);
  }
  const { connections = CONNECTIONS, connectMs = CONNECT_MS, answerMs = ANSWER_MS, log = silentLogger } = options;
  const level: { durability: Durability; mustAskForSync: boolean; isOpen: boolean } = {
    durability: "strict",
    mustAskForSync: false,
    isOpen: false,
  };
  const pool = new PostgresPool(await loadPg(), {
    place,
    connections,
    connectMs,
    answerMs,
    check: async (querier) => {
      const truth = await lookAt(querier, place);
      refuseNewer(truth.schemaVersion, place);
      if (level.isOpen) {
        refuseOlder(truth.schemaVersion, place);
        if (truth.durability !== level.durability) {
          log.warn(`${place.shown} gives durability level ${truth.durability} now; it was ${level.durability}`);
        }
      }
      level.durability = truth.durability;
      level.mustAskForSync ||= truth.mustAskForSync;
    },
  });
  const lockWaitMs = options.lockWaitMs ?? LOCK_WAIT_MS;
  const mustAskForSync = () => level.mustAskForSync;
  const session = new Session({ pool, place, limits, clock: options.clock, lockWaitMs, mustAskForSync });
  try {
    await pool.use((querier) => migrate(querier, place), MIGRATE_MS);
    await session.enter(indexed(namespace));
  } catch (thrown) {
    await pool.close();
    if (thrown instanceof AnswerLostError) throw new StoreUnavailableError(thrown.message, { cause: thrown.cause });
    throw isRolledBack(thrown) ? statementFailure(thrown, place) : thrown;
  }
  level.isOpen = true;
  pool.opened();
  const channel = `${channelOf(place.schema)}${session.ns}`;
  const probe = async (text: string) => void (await pool.query("SELECT pg_notify($1, $2)", [channel, text]));
  return {
    shown: place.shown,
    get durability() {
      return level.durability;
    },
    pool,
    session,
    hints: place.listen ? new Hints({ place, channel, by: session.by, connectMs, log, probe }) : undefined,
  };
}

/** Our schema was there, and is not any more: an empty one in its place would be a silent loss. */
function refuseOlder(version: number, place: Place): void {
  if (version >= currentVersion(place.schema)) return;
  throw new StoreSchemaError(
    `the schema ${JSON.stringify(place.schema)} of ${place.shown} is gone, or older than when it was opened: was another server or backup put in its place? Open it again if that is meant`,
  );
}
