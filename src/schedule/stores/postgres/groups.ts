/** The operations of a lane as calls of one statement, and its answers as theirs. */

import type { Callback, Claim, PutAnswer, RunEnd } from "../../callback.ts";
import { BackpressureError, LeaseLostError } from "../../errors.ts";
import type { Claimed } from "../../store.ts";
import type { Op } from "./lane.ts";
import {
  type ClaimItem,
  callbackOf,
  claimOf,
  endedCallback,
  endedOf,
  type PutItem,
  type PutTuple,
  putAnswersOf,
  putCallOf,
  type RowTuple,
} from "./rows.ts";
import type { Call, Params, Session } from "./session.ts";

export interface PutOp extends Op {
  readonly items: readonly PutItem[];
}

/** Answers are PutAnswers. Without a limit all are one batch; with one each stands and falls alone. */
export async function runPuts(session: Session, ops: readonly PutOp[]): Promise<unknown[]> {
  const { maxPending } = session.limits;
  const calls =
    maxPending > 0 ? ops.map(({ items }) => putCallOf(items)) : [putCallOf(ops.flatMap(({ items }) => items))];
  const [answers] = (await session.change([{ op: "put", params: { max: maxPending, calls } }])) as [
    (PutTuple[] | number[] | null)[],
  ];
  const all = calls.map((call, i) => {
    const answer = answers[i];
    return answer === null || answer === undefined ? new BackpressureError(maxPending) : putAnswersOf(call, answer);
  });
  if (maxPending > 0) return all;
  const batch = all[0] as PutAnswer[];
  let from = 0;
  return ops.map(({ items }) => {
    from += items.length;
    return batch.slice(from - items.length, from);
  });
}

export interface CancelOp extends Op {
  readonly item: Params;
}

/** Answers are [n, salt, state] as each was found, or null. */
export async function runCancels(session: Session, ops: readonly CancelOp[]): Promise<unknown[]> {
  const cancels = ops.map(({ item }, i) => ({ ...item, i }));
  const [answers] = (await session.change([{ op: "cancel", params: { cancels } }])) as [unknown[]];
  return answers;
}

export type WorkOp = Op &
  (
    | { readonly kind: "settle"; readonly claim: Claim; readonly end: RunEnd; readonly item: ClaimItem }
    | { readonly kind: "release"; readonly items: readonly ClaimItem[] }
    | { readonly kind: "renew"; readonly items: readonly ClaimItem[]; readonly leaseMs: number }
    | { readonly kind: "claim"; readonly params: Params }
  );

type WorkOf<Kind extends WorkOp["kind"]> = Extract<WorkOp, { kind: Kind }>;

/**
 * What a worker does in a turn. Ends come first, and claims last: what ended makes way for what is claimed. None of it waits for a
 * transaction that stays open: such a one locks only what is scheduled.
 */
export async function runWork(session: Session, ops: readonly WorkOp[]): Promise<unknown[]> {
  const of = <Kind extends WorkOp["kind"]>(kind: Kind) => ops.filter((op): op is WorkOf<Kind> => op.kind === kind);
  const settles = of("settle");
  const releases = of("release").flatMap(({ items }) => items);
  const calls: Call[] = [];
  const answers = new Map<WorkOp, (all: readonly unknown[]) => unknown>();
  if (settles.length > 0) {
    const at = calls.push({ op: "settle", params: { ends: settles.map(({ item }, i) => ({ ...item, i })) } }) - 1;
    for (const [i, op] of settles.entries()) answers.set(op, (all) => settledOf(op, (all[at] as SettleAnswer[])[i]));
  }
  if (releases.length > 0) {
    calls.push({ op: "release", params: { claims: releases.map((item, i) => ({ ...item, i })) } });
  }
  for (const op of of("renew")) {
    const at = calls.push({ op: "renew", params: { claims: op.items, lease: op.leaseMs } }) - 1;
    answers.set(op, (all) => (all[at] as (number | null)[]).map((untilMs) => untilMs ?? undefined));
  }
  for (const op of of("claim")) {
    const at = calls.push({ op: "claim", params: op.params }) - 1;
    answers.set(op, (all) => claimedOf(all[at] as ClaimAnswer));
  }
  const all = await session.change(calls);
  return ops.map((op) => answers.get(op)?.(all));
}

/** Null: the lease was lost. A number: it simply ended, then. */
type SettleAnswer = RowTuple | number | null | undefined;

function settledOf({ claim, end }: WorkOf<"settle">, answer: SettleAnswer): Callback | LeaseLostError {
  if (answer === null || answer === undefined) return new LeaseLostError(claim.callback.id);
  return typeof answer === "number" ? endedCallback(claim.callback, end, answer) : callbackOf(answer);
}

interface ClaimAnswer {
  readonly claims: readonly RowTuple[];
  readonly ended: readonly RowTuple[];
  readonly upcoming: readonly [dueMs: number | null, nowMs: number];
}

function claimedOf({ claims, ended, upcoming: [dueMs, nowMs] }: ClaimAnswer): Claimed {
  return { claims: claims.map(claimOf), ended: ended.map(endedOf), upcoming: { dueMs: dueMs ?? undefined, nowMs } };
}
