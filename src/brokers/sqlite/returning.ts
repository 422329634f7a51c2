/**
 * Returns what a connection held to its queues. When the file does not take it, it is tried again for as long as the process
 * lives: until then nobody else may return it, for its owner is alive.
 */
import { FullJitterBackoff } from "../../kit/backoff.ts";
import type { Clock } from "../../kit/clock.ts";
import { sleep } from "../../kit/deadline.ts";
import { ContractError } from "../../kit/errors.ts";
import type { SqliteFile } from "../../sqlite/file.ts";
import { resignOwner } from "../../sqlite/owners.ts";
import { hint } from "./neighbours.ts";
import type { SettleRow } from "./rows.ts";
import { tables } from "./tables.ts";
import type { Trouble } from "./trouble.ts";

const RETRY = { firstMs: 100, capMs: 5_000 } as const;
/** Messages returned in one go. */
const ROWS = 500;
const RETURNING = "unacknowledged messages cannot be returned to their queues";

export interface Leaving {
  readonly owner: string;
  /** Settled, and not known to be told. */
  readonly settled: readonly SettleRow[];
}

/** @throws what the file throws; asking again is harmless */
export async function giveBack(file: SqliteFile, { owner, settled }: Leaving): Promise<void> {
  const ops = file.use(tables);
  const asked: Promise<unknown>[] = [];
  if (settled.length > 0) asked.push(ops.call("settle", settled, { bytes: settled.length * 64 }));
  const first = ops.call("leave", { owner, limit: ROWS });
  asked.push(first);
  await Promise.all(asked);
  for (let step = await first; step === ROWS; ) step = await ops.call("leave", { owner, limit: ROWS });
  await resignOwner(file, owner);
  hint(file.path);
}

/** @param open opens the file anew */
export async function giveBackLater(
  open: () => Promise<SqliteFile>,
  leaving: Leaving,
  clock: Clock,
  trouble: Trouble,
): Promise<void> {
  const backoff = new FullJitterBackoff(RETRY);
  for (;;) {
    await sleep(backoff.nextMs(), clock, undefined, { ref: false });
    try {
      const file = await open();
      try {
        await giveBack(file, leaving);
      } finally {
        await file.close();
      }
      trouble.end(RETURNING);
      return;
    } catch (error) {
      trouble.add(RETURNING, error);
      // A damaged file: only a person can act, and who opens it next finds them.
      if (error instanceof ContractError) return;
    }
  }
}
