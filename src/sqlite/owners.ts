/**
 * Owners of what is held in the file. A process that dies leaves its claims and deliveries behind; the next one on the
 * machine finds it dead by pid and start time, ends the children it left running, and only then gives back what it held.
 */
import type { Clock } from "../kit/clock.ts";
import type { SqliteFile } from "./file.ts";
import { type OwnerRow, tables } from "./owners-tables.ts";
import { endProcess, identify, type Liveness, livenessOf } from "./process-identity.ts";

export { type OwnerRow, tables as ownersTables } from "./owners-tables.ts";

/** How long an orphan may take to go after SIGKILL before its owner is looked at again in the next sweep. */
const END_WAIT_MS = 1_000;
const END_STEP_MS = 5;
/** How long the row of a dead owner is kept. */
const KEEP_MS = 24 * 60 * 60 * 1_000;
const FORGET_LIMIT = 100;

/** Say which process `name` is, and which children work for it now. Again whenever the children change. */
export async function enlistOwner(file: SqliteFile, name: string, childPids: readonly number[]): Promise<void> {
  const self = identify(process.pid);
  if (self === undefined) throw new Error("this process does not find itself");
  const children: [number, string][] = [];
  for (const pid of childPids) {
    const child = pid === process.pid ? undefined : identify(pid);
    if (child !== undefined) children.push([pid, child.started]);
  }
  await file.use(tables).call("enlist", { ...self, name, children });
}

/** It holds nothing any more. */
export async function resignOwner(file: SqliteFile, name: string): Promise<void> {
  await file.use(tables).call("resign", name);
}

/** Whether the owner's process runs. Unknown: it runs in another container, or never said who it is; its lease tells. */
export function aliveOwner(row: OwnerRow): Liveness {
  return row.pid === 0 ? "unknown" : livenessOf(row);
}

/**
 * Find the dead, end what they left running, and mark them: from then on `aliveSql` is false for what they hold.
 * Answers how many were found dead. Several processes may do it at once.
 */
export async function sweepOwners(file: SqliteFile, clock: Clock): Promise<number> {
  const owners = file.use(tables);
  const dead = (await owners.call("list", null)).filter((row) => aliveOwner(row) === "dead");
  // A process may hold things under several names (callbacks, messages), and its children work for all of them.
  const running = new Set<string>();
  for (const row of dead) if (!(await endChildren(row, clock))) running.add(processOf(row));
  let buried = 0;
  for (const row of dead) {
    if (!running.has(processOf(row))) buried += await owners.call("bury", row);
  }
  const nowMs = clock.wallMs();
  if (dead.length > 0) await owners.call("forget", { beforeMs: nowMs - KEEP_MS, limit: FORGET_LIMIT });
  return buried;
}

function processOf({ pid, started, boot }: OwnerRow): string {
  return `${pid} ${started} ${boot}`;
}

/** False: one of them is still there (it hangs in the kernel): what it runs must not run twice. */
async function endChildren(row: OwnerRow, clock: Clock): Promise<boolean> {
  const running = () =>
    row.children
      .map(([pid, started]) => ({ pid, started, boot: row.boot }))
      .filter((child) => livenessOf(child) === "alive");
  for (const child of running()) endProcess(child);
  const untilMs = clock.monoMs() + END_WAIT_MS;
  while (running().length > 0) {
    if (clock.monoMs() >= untilMs) return false;
    await new Promise<void>((resolve) => clock.timeout(resolve, END_STEP_MS));
  }
  return true;
}
