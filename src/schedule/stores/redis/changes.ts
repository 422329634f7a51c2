/** Adding, cancelling, settling: the changes that come in crowds, and so share their trips (`batch.ts`). */
import { OutcomeUnknownError } from "../../../kit/errors.ts";
import type { Callback, CancelAnswer, Claim, EndState, NewCallback, PutAnswer, RunEnd } from "../../callback.ts";
import { reasonOf } from "../../check.ts";
import { BackpressureError, LeaseLostError } from "../../errors.ts";
import { answerOfCancel } from "../../rules.ts";
import { BATCH, Batcher } from "./batch.ts";
import { PUT_CODES } from "./lua/put.ts";
import { END_KINDS } from "./lua/settle.ts";
import type { Packable, Unpacked } from "./pack.ts";
import { callbackOf, claimItem, idOf, limitsItem, numberOf, packNew, retryFields, rowsOf, stateOf } from "./rows.ts";
import { scripts } from "./scripts.ts";
import type { Session } from "./session.ts";

/** Scripts of one large put that are under way at the same time: others get their turn. */
const WINDOW = 8;
const GROUP_BYTES = 1_048_576;
/** What a put writes beside the body. */
const ROW_BYTES = 100;

interface Settling {
  readonly claim: Claim;
  readonly end: RunEnd;
}

export class Changes {
  readonly #session: Session;
  readonly #putting = new Batcher<readonly NewCallback[], PutAnswer[] | "full">((groups) => this.#sendPuts(groups));
  readonly #cancelling = new Batcher<readonly Packable[], CancelAnswer>((items) => this.#sendCancels(items));
  readonly #settling = new Batcher<Settling, Callback | "lost">((items) => this.#sendSettles(items));
  readonly #puts = new Set<Promise<unknown>>();

  constructor(session: Session) {
    this.#session = session;
  }

  async put(callbacks: readonly NewCallback[]): Promise<PutAnswer[]> {
    const putting = this.#putAll(callbacks);
    this.#puts.add(putting);
    try {
      return await putting;
    } catch (thrown) {
      if (!(thrown instanceof OutcomeUnknownError)) throw thrown;
      const key = callbacks.length === 1 ? callbacks[0]?.key : undefined;
      throw new OutcomeUnknownError("scheduling the callback", key, { cause: thrown });
    } finally {
      this.#puts.delete(putting);
    }
  }

  cancel(target: readonly [name: string, salt: number | false], abort: boolean): Promise<CancelAnswer> {
    return this.#cancelling.add([...target, abort]);
  }

  /** @throws {LeaseLostError} */
  async settle(claim: Claim, end: RunEnd): Promise<Callback> {
    const bytes = end.kind === "retry" ? end.message.body.length : 0;
    const settled = await this.#settling.add({ claim, end }, 1, bytes);
    if (settled === "lost") throw new LeaseLostError(claim.callback.id);
    return settled;
  }

  /** Send what waits, and wait for puts that go on. */
  async finish(): Promise<void> {
    for (const batcher of [this.#putting, this.#cancelling, this.#settling]) batcher.flush();
    await Promise.allSettled(this.#puts);
  }

  async #putAll(callbacks: readonly NewCallback[]): Promise<PutAnswer[]> {
    const groups = groupsOf(callbacks);
    const answers: PutAnswer[] = [];
    for (let from = 0; from < groups.length; from += WINDOW) {
      const some = groups.slice(from, from + WINDOW);
      const all = await Promise.all(some.map(([group, bytes]) => this.#putting.add(group, group.length, bytes)));
      for (const each of all) {
        if (each === "full") throw new BackpressureError(this.#session.limits.maxPending);
        answers.push(...each);
      }
    }
    return answers;
  }

  async #sendPuts(groups: readonly (readonly NewCallback[])[]): Promise<(PutAnswer[] | "full")[]> {
    const callbacks = groups.length === 1 ? (groups[0] ?? []) : groups.flat();
    const salts: number[] = [];
    const answer = await this.#session.send(
      scripts.put,
      3,
      (packer) => {
        packer.number(this.#session.limits.maxPending);
        packer.value(groups.map((group) => group.length));
        packer.list(callbacks.length);
        for (const callback of callbacks) salts.push(packNew(packer, callback));
      },
      "scheduling the callbacks",
    );
    let at = 0;
    return (answer as (Unpacked[] | false)[]).map((answered, g) => {
      const from = at;
      at += groups[g]?.length ?? 0;
      if (answered === false) return "full";
      return answered.map((one, i) => this.#putAnswer(one, callbacks[from + i]?.dueMs ?? 0, salts[from + i] ?? 0));
    });
  }

  #putAnswer(answered: Unpacked, dueMs: number, salt: number): PutAnswer {
    if (typeof answered === "string") {
      this.#session.noteMade(numberOf(answered));
      return { put: "added", id: idOf(answered, salt), dueMs };
    }
    const [code, member = "", itsSalt = 0, itsDueMs = 0] = answered as [number, string?, number?, number?];
    const put = PUT_CODES[code - 1] as (typeof PUT_CODES)[number];
    if (put === "revoked") return { put };
    const id = idOf(member, itsSalt);
    return put === "too_late" || put === "conflict" ? { put, id } : { put, id, dueMs: itsDueMs };
  }

  async #sendCancels(items: readonly (readonly Packable[])[]): Promise<CancelAnswer[]> {
    const answers = await this.#session.send(
      scripts.cancel,
      2,
      (packer) => {
        packer.value(limitsItem(this.#session.limits));
        packer.value(items);
      },
      "cancelling the callback",
    );
    return (answers as ([number, string, number] | false)[]).map((found) =>
      found === false ? { answer: "unknown" } : answerOfCancel(idOf(found[1], found[2]), stateOf(found[0])),
    );
  }

  async #sendSettles(items: readonly Settling[]): Promise<(Callback | "lost")[]> {
    const answer = await this.#session.send(
      scripts.settle,
      2,
      (packer) => {
        packer.value(limitsItem(this.#session.limits));
        packer.list(items.length);
        for (const { claim, end } of items) packer.value([...claimItem(claim), ...endItem(end)]);
      },
      "recording the end of the run",
    );
    const [codes, nowMs, changed = []] = answer as [(number | false)[], number, Unpacked];
    const rows = rowsOf(changed);
    return items.map(({ claim, end }, i) => {
      const code = codes[i];
      if (typeof code !== "number") return "lost";
      const row = rows[code - 1];
      return row === undefined ? endedCallback(claim.callback, end, nowMs) : callbackOf(row);
    });
  }
}

/** So that no script has more than its 200, or than a megabyte if it has several. Each with its bytes. */
function groupsOf(callbacks: readonly NewCallback[]): (readonly [NewCallback[], number])[] {
  const groups: [NewCallback[], number][] = [];
  let last: [NewCallback[], number] | undefined;
  for (const callback of callbacks) {
    const bytes = ROW_BYTES + callback.message.body.length;
    if (last === undefined || last[0].length >= BATCH || last[1] + bytes > GROUP_BYTES) {
      last = [[], 0];
      groups.push(last);
    }
    last[0].push(callback);
    last[1] += bytes;
  }
  return groups;
}

function endItem(end: RunEnd): readonly Packable[] {
  const kind = END_KINDS.indexOf(end.kind);
  if (end.kind === "succeeded") return [kind, false];
  return end.kind === "retry" ? [kind, ...retryFields(end.dueMs, end.message)] : [kind, reasonOf(end.reason)];
}

/** A run that simply ended changed nothing else of its callback. */
function endedCallback(callback: Callback, end: RunEnd, endedMs: number): Callback {
  const { leaseUntilMs: _, ...rest } = callback;
  const state = end.kind as EndState;
  return { ...rest, state, endedMs, ...("reason" in end ? { reason: reasonOf(end.reason) } : {}) };
}
