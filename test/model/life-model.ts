/**
 * The life of one callback, as a model that is searched to its end: a store with one row, workers that are small programs, a client that
 * cancels, a clock that may step back. Each may be overtaken by any other at any moment.
 *
 * An answer is in flight until its worker reads it, as long as it likes, or is lost. A question has no place of its own: the
 * store answers it in one step, and when that step comes is all that anybody can see of its way there. So a claim, a settle and a
 * cancel may come at any moment, also at one at which nobody would send them. What a worker had asked when it died is kept
 * apart, and may arrive at any later time, or never. A worker that dies is another one at once: for how long nobody serves makes no
 * difference.
 */
import { isLive } from "../../src/schedule/callback.ts";
import {
  type End,
  holds,
  honestStore,
  type LifeStore,
  newRow,
  PLAIN,
  type Profile,
  type Row,
  UNIT_MS,
} from "./life-store.ts";
import type { Model, Step } from "./search.ts";

/** How often each of these may happen. */
export interface Faults {
  /** A worker dies, or the child that runs the callback. */
  readonly crashes: number;
  /** A lease runs out although its holder lives: it stalled. (That of one that died runs out all the same.) */
  readonly lapses: number;
  readonly backwardSteps: number;
  readonly cancels: number;
  /** An answer of the store does not arrive. */
  readonly lostAnswers: number;
  /** A claim is given back unstarted. */
  readonly releases: number;
}

export interface LifeOptions {
  readonly workers: number;
  readonly faults: Faults;
  readonly profile?: Profile;
  /** Wrong ways to be a store. */
  readonly store?: (honest: LifeStore) => LifeStore;
  /** Wrong ways to be a worker. */
  readonly worker?: {
    /** It starts what it claimed, however old the answer. */
    readonly trustsLateClaims?: boolean;
    /** It starts what it renewed, however old that answer. */
    readonly trustsLateRenewals?: boolean;
    readonly releasesAfterStart?: boolean;
  };
}

/** "answered": a claim's answer is on its way to it; "renewed": that of the renewal that it asked for before it starts. */
type At = "idle" | "answered" | "renewed" | "running";

interface Worker {
  readonly at: At;
  /** Of what it holds, or held. */
  readonly token: number;
  /** By its own clock the lease may be over: it was long ago that it asked. */
  readonly late: boolean;
}

/** What a worker had asked before it died: which of the questions that its place allows, shows when it arrives. */
type Orphan = Pick<Worker, "at" | "token">;

interface World {
  /** The store's clock, in units. */
  readonly now: number;
  readonly row: Row;
  readonly workers: readonly Worker[];
  readonly orphans: readonly Orphan[];
  readonly left: Faults;
  /** Of a cancel in two steps: what it found. */
  readonly looked: Row | undefined;
  /** Bits: tokens of committed claims, and those that were started. */
  readonly claimed: number;
  readonly started: number;
  readonly promised: "" | "cancelled" | "stopped";
}

export type { World as LifeWorld };

const IDLE: Worker = { at: "idle", token: 0, late: false };
const DUE = 1;
const ENDS: readonly End[] = ["succeeded", "stopped", "retry", "crashed", "lost"];
const NEVER_STARTED: ReadonlySet<string> = new Set(["scheduled", "cancelled", "expired", "skipped"]);

export function lifeModel(options: LifeOptions): Model<World> {
  const { profile = PLAIN, worker: wrongWorker = {} } = options;
  const honest = honestStore(profile);
  const store = options.store?.(honest) ?? honest;
  const { crashLimit, lostLimit } = profile.limits;
  /** Later than that nothing new can come of the time. */
  const last = profile.expiresMs === null && profile.misfire === "fire" ? DUE : DUE + 2;

  /** The row as an operation left it, judged. `token`: whose operation it was. */
  function changed(
    world: World,
    row: Row,
    token?: number,
  ): { readonly world: World; readonly wrong: string | undefined } {
    const before = world.row;
    let wrong: string | undefined;
    if (row !== before) {
      if (!isLive(before.state)) wrong = `a callback that had ended as ${before.state} was changed`;
      else if (row.token < before.token) wrong = `its token went back from ${before.token} to ${row.token}`;
      else if (token !== undefined && token !== before.token) {
        wrong = `an old token (${token}) changed a row whose token is ${before.token}`;
      }
    }
    return { world: { ...world, row }, wrong };
  }

  function claim(world: World): {
    readonly world: World;
    readonly token: number | undefined;
    readonly wrong: string | undefined;
  } {
    const { row, token } = store.claim(world.row, world.now * UNIT_MS);
    const after = changed(world, row);
    const committed = token !== undefined && row.state === "running" && row.token === token;
    const early = committed && world.now * UNIT_MS < row.dueMs; // of the row as claimed: recovery made it due anew
    return {
      world: committed ? { ...after.world, claimed: world.claimed | (1 << token) } : after.world,
      token,
      wrong: after.wrong ?? (early ? "it was claimed before it was due" : undefined),
    };
  }

  /** The first instruction of the handler. */
  function start(world: World, n: number): Omit<Step<World>, "name"> {
    const worker = world.workers[n] as Worker;
    const bit = 1 << worker.token;
    const { promised } = world;
    let wrong: string | undefined;
    if ((world.claimed & bit) === 0) wrong = "it started without a committed claim";
    else if ((world.started & bit) !== 0) wrong = "it started twice under one token";
    else if (promised === "cancelled") wrong = "it started after its cancel was answered with cancelled";
    else if (promised === "stopped") wrong = "it started after its cancel was answered with stopped";
    const to = withWorker({ ...world, started: world.started | bit }, n, { ...worker, at: "running", late: false });
    return { to, outside: false, wrong };
  }

  function stepsOfWorker(world: World, n: number): Step<World>[] {
    const worker = world.workers[n] as Worker;
    const { at, token, late } = worker;
    const { row, left } = world;
    const nowMs = world.now * UNIT_MS;
    const steps: Step<World>[] = [];
    const add = (
      name: string,
      to: World,
      more: { readonly outside?: boolean; readonly wrong?: string | undefined } = {},
    ) => steps.push({ name: `worker ${n + 1} ${name}`, to, outside: more.outside ?? false, wrong: more.wrong });
    /** The answer to `name` is on its way, or is lost. */
    const asks = (
      name: string,
      after: { readonly world: World; readonly wrong: string | undefined },
      next: Worker,
      deaf: Worker,
    ) => {
      const { world: to, wrong } = after;
      add(name, withWorker(to, n, next), { wrong });
      if (left.lostAnswers === 0) return;
      add(`${name}; the answer is lost`, spend(withWorker(to, n, deaf), "lostAnswers"), { outside: true, wrong });
    };
    const settles = (end: End, outside = false) => {
      const settled = changed(world, store.settle(row, token, end, nowMs), token);
      const to = withWorker(settled.world, n, IDLE);
      add(`settles as ${end}`, outside ? spend(to, "crashes") : to, { outside, wrong: settled.wrong });
      if (left.lostAnswers === 0) return;
      // It asks again.
      add(`settles as ${end}; the answer is lost`, spend(settled.world, "lostAnswers"), {
        outside: true,
        wrong: settled.wrong,
      });
    };
    if (at === "idle") {
      const claimed = claim(world);
      const next = claimed.token === undefined ? IDLE : { ...IDLE, at: "answered" as const, token: claimed.token };
      asks(
        claimed.token === undefined ? "claims, and gets nothing" : `claims it (token ${claimed.token})`,
        claimed,
        next,
        IDLE,
      );
    } else if (at === "running") {
      const renewed = changed(world, store.renew(row, token), token);
      add("renews", renewed.world, { wrong: renewed.wrong });
      settles("succeeded");
      if (row.unwanted && holds(row, token)) settles("stopped");
      if (!row.retried) settles("retry");
      if (left.crashes > 0) settles("crashed", true);
      if (wrongWorker.releasesAfterStart === true) {
        add("gives it back", withWorker({ ...world, row: store.release(row, token) }, n, IDLE), { outside: true });
      }
    } else {
      const trusts = at === "answered" ? wrongWorker.trustsLateClaims : wrongWorker.trustsLateRenewals;
      if (late && trusts !== true) {
        const next: Worker = holds(row, token) ? { at: "renewed", token, late: false } : IDLE;
        asks("asks whether its claim still stands", changed(world, store.renew(row, token), token), next, IDLE);
      } else steps.push({ ...start(world, n), name: `worker ${n + 1} starts it (token ${token})` });
      if (left.releases > 0) {
        const released = changed(world, store.release(row, token), token);
        add("gives it back", spend(withWorker(released.world, n, IDLE), "releases"), {
          outside: true,
          wrong: released.wrong,
        });
      }
    }
    const swept = changed(world, store.recover(row, nowMs));
    add("sweeps", swept.world, { wrong: swept.wrong });
    if (left.crashes > 0) {
      const dead = spend(withWorker(world, n, IDLE), "crashes");
      add("dies", { ...dead, orphans: [...world.orphans, { at, token }] }, { outside: true });
    }
    return steps;
  }

  /** Outside: it need not arrive, and whatever must happen, happens without it. */
  function stepsOfOrphans(world: World): Step<World>[] {
    const { row } = world;
    return world.orphans.flatMap(({ at, token }, i) => {
      const rest = { ...world, orphans: world.orphans.toSpliced(i, 1) };
      const steps: Step<World>[] = [];
      const arrives = (
        what: string,
        { world: to, wrong }: { readonly world: World; readonly wrong: string | undefined },
      ) => steps.push({ name: `the ${what} of a dead worker arrives`, to, outside: true, wrong });
      if (at === "idle") {
        arrives("claim", claim(rest));
        return steps;
      }
      arrives(`renewal (token ${token})`, changed(rest, store.renew(row, token), token));
      if (at === "running") {
        for (const end of ENDS) {
          arrives(
            `end as ${end} (token ${token})`,
            changed(rest, store.settle(row, token, end, world.now * UNIT_MS), token),
          );
        }
      } else if (world.left.releases > 0) {
        arrives(`release (token ${token})`, changed(spend(rest, "releases"), store.release(row, token), token));
      }
      return steps;
    });
  }

  function stepsOfClient(world: World): Step<World>[] {
    if (store.cancelByEarlierLook === true) {
      if (world.looked !== undefined) return [cancelled({ ...world, looked: undefined }, world.looked)];
      if (world.left.cancels === 0) return [];
      return [{ name: "a cancel looks", to: spend({ ...world, looked: world.row }, "cancels"), outside: true }];
    }
    return world.left.cancels === 0 ? [] : [cancelled(spend(world, "cancels"), world.row)];
  }

  function cancelled(world: World, found: Row): Step<World> {
    const cancel = store.cancel(found);
    // Two steps: the row is written only if it is still as it was found, the answer is given all the same.
    const to = found === world.row ? changed(world, cancel.row) : { world, wrong: undefined };
    const { answer } = cancel;
    const isPromise = answer === "cancelled" || answer === "stopped";
    const lie =
      answer === "cancelled" && world.started !== 0 ? "cancel answered cancelled for one that had started" : undefined;
    return {
      name: `cancel answers ${answer}`,
      to: isPromise ? { ...to.world, promised: answer } : to.world,
      outside: true,
      wrong: to.wrong ?? lie,
    };
  }

  function stepsOfTime(world: World): Step<World>[] {
    const { now, row, left } = world;
    const steps: Step<World>[] = [];
    if (now < last)
      steps.push({ name: `the clock goes to ${now + 1}`, to: { ...world, now: now + 1 }, outside: false });
    if (now > 0 && left.backwardSteps > 0) {
      const to = spend({ ...world, now: now - 1 }, "backwardSteps");
      steps.push({ name: `the clock steps back to ${now - 1}`, to, outside: true });
    }
    if (row.state === "running" && !row.lapsed) {
      const holder = world.workers.findIndex((worker) => worker.at !== "idle" && worker.token === row.token);
      const lapsed = { ...world, row: { ...row, lapsed: true } };
      if (holder < 0) steps.push({ name: "the lease of a lost run ends", to: lapsed, outside: false });
      else if (left.lapses > 0) {
        const worker = world.workers[holder] as Worker;
        const late = worker.at === "running" ? lapsed : withWorker(lapsed, holder, { ...worker, late: true });
        steps.push({ name: `the lease of worker ${holder + 1} ends`, to: spend(late, "lapses"), outside: true });
      }
    }
    return steps;
  }

  /**
   * Only what makes a difference: of a token, whether it is the row's; of the count of attempts, what one release can tell; of those of
   * crashes and losses, how near their limits they are. Workers are alike: which one is where makes none.
   */
  function keyOf({ now, row, workers, orphans, left, looked, claimed, started, promised }: World): string {
    const isOld = (token: number) => (token === row.token ? "" : "-");
    let places = workers.map(placeOf);
    if (places.length > 1) places = places.sort();
    const lost = orphans.length === 0 ? "" : orphans.map(({ at, token }) => at + isOld(token)).sort();
    const { crashes, lapses, backwardSteps, cancels, lostAnswers, releases } = left;
    const looks = looked === undefined ? "" : rowKey(looked);
    return `${now};${rowKey(row)};${places};${lost};${crashes}${lapses}${backwardSteps}${cancels}${lostAnswers}${releases};${looks};${promised}${started === 0 ? "" : "+"}`;

    function placeOf({ at, token, late }: Worker): string {
      if (at === "idle") return "";
      if (at === "running") return at + isOld(token);
      return `${at}${isOld(token)}${late ? "!" : ""}${(claimed >> token) & 1}${(started >> token) & 1}`;
    }
  }

  function rowKey(row: Row): string {
    const { state, dueMs, attempts, crashes, losses, unwanted, lapsed, retried } = row;
    const flags = (unwanted ? 1 : 0) + (lapsed ? 2 : 0) + (retried ? 4 : 0);
    const [crashed, lost] = [Math.max(0, crashes + 2 - crashLimit), Math.max(0, losses + 4 - lostLimit)];
    return `${state}${dueMs / UNIT_MS}${Math.min(attempts, 2)}${crashed}${lost}${flags}`;
  }

  return {
    first: {
      now: 0,
      row: newRow(DUE * UNIT_MS),
      workers: Array.from({ length: options.workers }, () => IDLE),
      orphans: [],
      left: options.faults,
      looked: undefined,
      claimed: 0,
      started: 0,
      promised: "",
    },
    steps: (world) => [
      ...stepsOfTime(world),
      ...world.workers.flatMap((_, n) => stepsOfWorker(world, n)),
      ...stepsOfOrphans(world),
      ...stepsOfClient(world),
    ],
    keyOf,
    wrongIn({ row, started }) {
      if ((row.attempts === 0) !== NEVER_STARTED.has(row.state))
        return `it is ${row.state} after ${row.attempts} attempts`;
      if (started !== 0 && NEVER_STARTED.has(row.state)) return `it is ${row.state}, and has started`;
      if (row.state === "succeeded" && started === 0) return "it is succeeded, and never started";
      return undefined;
    },
    isDone: ({ row }) => !isLive(row.state),
  };
}

function withWorker(world: World, n: number, worker: Worker): World {
  return { ...world, workers: world.workers.with(n, worker) };
}

function spend(world: World, what: keyof Faults): World {
  return { ...world, left: { ...world.left, [what]: world.left[what] - 1 } };
}
