/**
 * The scripts of the store: one for each operation, so that each is one atomic step of the server. A script is made of the shared
 * parts that it uses and what is its own; the server keeps it, and is asked for it by its digest.
 */
import { createHash } from "node:crypto";
import * as cancelling from "./lua/cancel.ts";
import * as claiming from "./lua/claim.ts";
import * as listing from "./lua/list.ts";
import * as owners from "./lua/owners.ts";
import * as putting from "./lua/put.ts";
import * as recurrences from "./lua/recurrences.ts";
import { changes, find, rules } from "./lua/rules.ts";
import * as settling from "./lua/settle.ts";
import { sweep } from "./lua/sweep.ts";
import { answers, table } from "./lua/table.ts";

export interface Script {
  readonly name: string;
  readonly text: string;
  readonly sha: string;
  /** It changes something: when its answer is lost, it is not known whether it did. */
  readonly writes: boolean;
}

/**
 * - `reads`: writes nothing.
 * - `grows`: refused as a whole when the server is out of memory.
 * - `ends`: finishes, gives back or takes away, and so must run then.
 */
type Kind = "reads" | "grows" | "ends";

const FLAGS: Readonly<Record<Kind, string>> = { reads: " flags=no-writes", grows: "", ends: " flags=allow-oom" };

function script(name: string, kind: Kind, ...parts: readonly string[]): Script {
  const text = `#!lua${FLAGS[kind]}\n-- lovage: ${name}\n${inlined(parts.join("\n"))}`;
  return { name, text, sha: createHash("sha1").update(text).digest("hex"), writes: kind !== "reads" };
}

const CONSTANTS = /^[ \t]*local ([A-Z][A-Z_0-9]*(?:, [A-Z][A-Z_0-9]*)*) = (-?\d+(?:, -?\d+)*)$/gm;

/**
 * Constants, written out as the numbers that they are. As local names they would be upvalues of the functions, and Lua 5.1 looks
 * through all that are open for each that a function closes over: most of the time of a script that does one thing.
 */
function inlined(text: string): string {
  const values = new Map<string, string>();
  const code = text.replace(CONSTANTS, (_, names: string, numbers: string) => {
    const each = numbers.split(", ");
    for (const [i, name] of names.split(", ").entries()) values.set(name, each[i] ?? "nil");
    return "";
  });
  return code.replace(/\b[A-Z][A-Z_0-9]*\b/g, (name) => values.get(name) ?? name);
}

const schema = `
local schema = call("GET", base .. "schema")
if not schema then call("SET", base .. "schema", p[3]) end
return pack({tonumber(schema or p[3]), tonumber(call("GET", base .. "made") or 0), now})
`;

/** What most scripts that change something begin with. */
const common = [table, answers, find, rules, changes] as const;
const recur = [...common, recurrences.recurring] as const;
const follow = [...recur, putting.adding, recurrences.following] as const;

export const scripts = {
  open: script("open", "ends", table, schema),
  now: script("now", "reads", table, "return pack(now)"),
  // Those that come one at a time have no more than they need: each function of a script is made anew when it is called.
  put: script("put", "grows", table, find, rules, putting.adding, putting.put),
  cancel: script("cancel", "ends", table, find, rules, changes, cancelling.cancel),
  reschedule: script("reschedule", "ends", table, find, rules, changes, cancelling.reschedule),
  get: script("get", "reads", table, answers, find, cancelling.get),
  rowsOf: script("rowsOf", "reads", table, answers, cancelling.rowsOf),
  revoke: script("revoke", "ends", ...common, cancelling.revoke),
  revoked: script("revoked", "reads", table, cancelling.revoked),
  upcoming: script("upcoming", "reads", table, owners.owners, owners.claimable, claiming.upcoming),
  claim: script(
    "claim",
    "ends",
    ...recur,
    owners.owners,
    owners.claimable,
    claiming.merge,
    claiming.losing,
    claiming.claim,
  ),
  readBack: script("readBack", "ends", ...common, claiming.readBack),
  renew: script("renew", "ends", table, rules, changes, settling.renew),
  settle: script("settle", "ends", table, answers, rules, changes, settling.settle),
  release: script("release", "ends", ...recur, settling.release),
  takeAborts: script("takeAborts", "ends", table, rules, changes, settling.takeAborts),
  sweep: script("sweep", "ends", ...recur, owners.owners, claiming.losing, sweep),
  enlist: script("enlist", "ends", table, owners.owners, owners.enlist),
  resign: script("resign", "ends", table, owners.owners, owners.resign),
  list: script("list", "reads", table, answers, claiming.merge, listing.list),
  withPrefix: script("withPrefix", "reads", table, answers, find, listing.withPrefix),
  counts: script("counts", "reads", table, rules, listing.counts),
  putRecurrence: script("putRecurrence", "grows", ...follow, recurrences.putRecurrence),
  advance: script("advance", "grows", ...follow, recurrences.advance),
  pause: script("pause", "ends", ...follow, recurrences.pause),
  resume: script("resume", "grows", ...follow, recurrences.resume),
  cancelRecurrence: script("cancelRecurrence", "ends", ...follow, recurrences.cancelRecurrence),
  getRecurrence: script("getRecurrence", "reads", ...follow, recurrences.getRecurrence),
  dueRecurrences: script("dueRecurrences", "reads", ...follow, recurrences.dueRecurrences),
  listRecurrences: script("listRecurrences", "reads", ...follow, recurrences.listRecurrences),
} as const;
