/** Looks at each operation of the store in the moment in which it is done: what may never happen, not even for a moment. */
import { ContractError } from "../../src/kit/errors.ts";
import type { Callback, Claim } from "../../src/schedule/callback.ts";
import type { Claimed, ScheduleStore } from "../../src/schedule/store.ts";
import type { Loop } from "./loop.ts";
import type { Watch } from "./store-server.ts";
import { plain, type Trace } from "./trace.ts";

export interface Watched {
  readonly watch: Watch;
  /** Operations that were done. */
  readonly calls: { count: number };
  /** Claims, by id and token. */
  readonly claimed: ReadonlyMap<string, Claim>;
  /** How each claim was settled. */
  readonly settled: ReadonlyMap<string, string>;
  /** When, in true time, the lease of each run ends, as the store has it now. */
  readonly leaseEnds: ReadonlyMap<string, number>;
  /** When, in true time, cancel was answered that the callback ran before and does not run again. */
  readonly stopped: ReadonlyMap<string, number>;
}

export function watchOf(options: {
  readonly store: ScheduleStore;
  readonly loop: Loop;
  readonly trace: Trace;
  readonly wrong: (what: string) => void;
}): Watched {
  const { store, loop, trace, wrong } = options;
  const newest = new Map<string, number>();
  const attempts = new Map<string, number>();
  const claimed = new Map<string, Claim>();
  const settled = new Map<string, string>();
  const stopped = new Map<string, number>();
  const leaseEnds = new Map<string, number>();
  const calls = { count: 0 };

  const onClaim = async ({ claims, upcoming }: Claimed, limit: number, leaseMs: number) => {
    if (claims.length > limit) wrong(`a claim for ${limit} brought ${claims.length}`);
    for (const claim of claims) {
      const { callback, token } = claim;
      const { id, dueMs } = callback;
      if (dueMs > upcoming.nowMs) wrong(`V2: ${id} was claimed ${dueMs - upcoming.nowMs} ms early`);
      if (token <= (newest.get(id) ?? 0)) wrong(`G8: ${id} was claimed with token ${token} after ${newest.get(id)}`);
      newest.set(id, token);
      // Given back unstarted it is the same attempt again.
      if (claim.attempt <= (attempts.get(id) ?? 0)) wrong(`V5: ${id} was claimed for attempt ${claim.attempt} twice`);
      attempts.set(id, claim.attempt);
      claimed.set(`${id}/${token}`, claim);
      leaseEnds.set(`${id}/${token}`, loop.nowMs + leaseMs);
    }
    for (const [i, claim] of claims.entries()) await checkOverlap(claim, claims.slice(i + 1));
  };
  /** When it starts for the first time, nothing of its recurrence may be under way; what is claimed after it may be allowed beside it. */
  const checkOverlap = async ({ callback, attempt }: Claim, after: readonly Claim[]) => {
    const { id, occurrence } = callback;
    if (attempt > 1 || occurrence === undefined || occurrence.overlap === "allow") return;
    const { recurrence, overlap } = occurrence;
    const { callbacks } = await store.list({ recurrence, states: ["running", "waiting"], limit: 20 });
    const allowed = new Set(
      after
        .filter((later) => later.attempt === 1 && later.callback.occurrence?.overlap === "allow")
        .map((later) => later.callback.id),
    );
    const others = callbacks.filter((other) => other.id !== id && !allowed.has(other.id));
    if (others.length > 0) {
      wrong(`overlap ${overlap}: ${id} was claimed beside ${others.map((other) => other.id).join(" and ")}`);
    }
  };
  const onSettle = ({ callback, token }: Claim, end: string, answer: Callback) => {
    const name = `${callback.id}/${token}`;
    if (token !== newest.get(callback.id)) {
      wrong(`G8: ${name} was settled, though ${newest.get(callback.id)} is the newest token`);
    }
    if (settled.has(name)) wrong(`I5: ${name} was settled twice`);
    settled.set(name, end);
    if (answer.state === "running") wrong(`${name} runs though it was settled`);
  };
  const onRenew = (claims: readonly Claim[], leaseMs: number, answer: readonly (number | undefined)[]) => {
    for (const [i, { callback, token }] of claims.entries()) {
      if (answer[i] === undefined) continue;
      const name = `${callback.id}/${token}`;
      leaseEnds.set(name, loop.nowMs + leaseMs);
      if (token !== newest.get(callback.id) || settled.has(name)) {
        wrong(`G8: the lease of ${name} was renewed, though it is over`);
      }
    }
  };

  const advanced = new Set<string>();
  const onAdvance = (id: string, from: { readonly generation: number; readonly nextMs: number }) => {
    const name = `${id}/${from.generation}/${from.nextMs}`;
    if (advanced.has(name)) wrong(`G12: ${name} was advanced twice`);
    advanced.add(name);
  };

  const watch: Watch = ({ from, op, args, answer }) => {
    calls.count += 1;
    trace.add(loop.nowMs, from, `${op} ${briefOf(answer)}`);
    if (answer instanceof Error) {
      // A lost lease and a full store are answers; what the store refuses for what it was given is a bug of whoever asked.
      if (answer instanceof ContractError || !("code" in answer)) wrong(`${op} failed: ${answer.stack}`);
      return;
    }
    if (op === "cancel") {
      const { answer: said, id = "" } = answer as { answer: string; id?: string };
      if (said === "stopped") stopped.set(id, loop.nowMs);
    } else if (op === "claimDue") void onClaim(answer as Claimed, args[1] as number, args[2] as number);
    else if (op === "release") {
      for (const { callback, token } of args[0] as readonly Claim[]) {
        if (newest.get(callback.id) === token) attempts.delete(callback.id);
      }
    } else if (op === "settle") onSettle(args[0] as Claim, (args[1] as { kind: string }).kind, answer as Callback);
    else if (op === "recurrences.advance" && (answer as { answer: string }).answer === "changed") {
      onAdvance(args[0] as string, args[1] as { generation: number; nextMs: number });
    } else if (op === "renew")
      onRenew(args[0] as readonly Claim[], args[1] as number, answer as readonly (number | undefined)[]);
  };
  return { watch, calls, claimed, settled, stopped, leaseEnds };
}

/** As much of an answer as two runs must share. */
function briefOf(answer: unknown): string {
  if (answer instanceof Error) return answer.name;
  if (Array.isArray(answer)) return `[${answer.map(briefOf).join(",")}]`;
  if (typeof answer !== "object" || answer === null) return String(answer);
  const parts: string[] = [];
  for (const name of ["id", "put", "answer", "state", "dueMs", "token", "claims", "ended", "upcoming"] as const) {
    const value = Reflect.get(answer, name);
    if (value === undefined) continue;
    parts.push(name === "id" ? plain(String(value)) : briefOf(value));
  }
  if ("callback" in answer) parts.push(briefOf(answer.callback));
  return parts.join(" ");
}
