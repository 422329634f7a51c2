/**
 * The life of what recurs, as a model that is searched to its end: a recurrence with a few nominal times, whose occurrences must not overlap, and
 * workers that bring it up to date, claim, run, stall and die. Nobody leads them.
 *
 * A plan is in flight from when its worker read the recurrence until it arrives, as long as it likes; that of a worker that died may arrive at any
 * later time. What becomes of it all is decided by the production rules. Nothing but those keeps a nominal time from having two
 * rows: the model's store does not look whether there is one already, as the real ones do besides.
 */
import { DEFAULT_LIMITS } from "../../src/schedule/limits.ts";
import { outcomeOfAdvance } from "../../src/schedule/recurrence-rules.ts";
import { fateOfLoss, fateOfOverlap, fateWhenDue } from "../../src/schedule/rules.ts";
import { UNIT_MS } from "./life-store.ts";
import type { Model, Step } from "./search.ts";

export interface OccurrenceFaults {
  readonly crashes: number;
  readonly lapses: number;
}

export interface OccurrenceOptions {
  readonly workers: number;
  /** Nominal times are 1 … last, in units. */
  readonly last: number;
  readonly faults: OccurrenceFaults;
  /** One wrong way to do it. */
  readonly wrong?:
    | "blind advance"
    | "advance in two steps"
    | "overlap unseen"
    | "overlap seen of running ones only"
    | "settle checks the state only";
}

interface Occurrence {
  /** In units. */
  readonly nominal: number;
  readonly state: "scheduled" | "waiting" | "running" | "succeeded" | "skipped" | "failed" | "dead";
  readonly dueMs: number;
  readonly attempts: number;
  readonly token: number;
  readonly losses: number;
  readonly lapsed: boolean;
}

interface Plan {
  readonly from: number;
  readonly nominals: readonly number[];
  readonly next: number | null;
}

interface Worker {
  readonly plan: Plan | undefined;
  /** Of a plan that is carried out in two steps: its rows are there. */
  readonly put: boolean;
  /** What it claimed: the place of its row, and the token. */
  readonly claim: { readonly row: number; readonly token: number; readonly started: boolean } | undefined;
}

interface World {
  readonly now: number;
  /** Null: the recurrence has ended. */
  readonly next: number | null;
  readonly rows: readonly Occurrence[];
  readonly workers: readonly Worker[];
  /** Plans of workers that died. */
  readonly orphans: readonly Plan[];
  readonly left: OccurrenceFaults;
}

export type { World as OccurrenceWorld };

const IDLE: Worker = { plan: undefined, put: false, claim: undefined };

export function occurrenceModel(options: OccurrenceOptions): Model<World> {
  const { last, wrong } = options;

  /** The newest that was missed stands for those before it; and the next one. */
  function planFrom(from: number, now: number): Plan {
    const missed = Math.min(now, last);
    const next = Math.max(now, from) + 1;
    const nominals = [...(missed > from ? [missed] : []), ...(next <= last ? [next] : [])];
    return { from, nominals, next: next <= last ? next : null };
  }

  function mayAdvance(world: World, { from }: Plan): boolean {
    const state = world.next === null ? "ended" : "active";
    const nextMs = world.next === null ? undefined : world.next * UNIT_MS;
    const outcome = outcomeOfAdvance({ state, generation: 1, nextMs }, { generation: 1, nextMs: from * UNIT_MS });
    return outcome === "changed" || wrong === "blind advance";
  }

  function withRows(world: World, { nominals }: Plan): World {
    return { ...world, rows: [...world.rows, ...nominals.map(newOccurrence)] };
  }

  function advanced(world: World, plan: Plan): World {
    return mayAdvance(world, plan) ? { ...withRows(world, plan), next: plan.next } : world;
  }

  function recovered(rows: readonly Occurrence[], nowMs: number): readonly Occurrence[] {
    return rows.map((row) => {
      if (row.state !== "running" || !row.lapsed) return row;
      const losses = row.losses + 1;
      const { state } = fateOfLoss({ onLost: "rerun", crashes: 0, losses, unwanted: false }, DEFAULT_LIMITS);
      return {
        ...row,
        losses,
        lapsed: false,
        state: state as Occurrence["state"],
        ...(state === "waiting" ? { dueMs: nowMs } : {}),
      };
    });
  }

  function isUnderWay(rows: readonly Occurrence[]): boolean {
    if (wrong === "overlap unseen") return false;
    return rows.some(
      ({ state }) => state === "running" || (state === "waiting" && wrong !== "overlap seen of running ones only"),
    );
  }

  /** Earliest first, with those that are skipped on the way. */
  function claimed(world: World, n: number): World {
    const nowMs = world.now * UNIT_MS;
    let rows = recovered(world.rows, nowMs);
    for (;;) {
      const due = rows
        .map((row, at) => ({ row, at }))
        .filter(({ row }) => (row.state === "scheduled" || row.state === "waiting") && row.dueMs <= nowMs)
        .sort((a, b) => a.row.dueMs - b.row.dueMs || a.at - b.at)[0];
      if (due === undefined) return { ...world, rows };
      const { row, at } = due;
      const nominalMs = row.nominal * UNIT_MS;
      const whole = { ...row, expiresMs: null, misfire: "fire", graceMs: 0, nominalMs, overlap: "skip" } as const;
      const fate =
        fateWhenDue(whole, nowMs) ??
        (row.state === "scheduled" ? fateOfOverlap(whole, isUnderWay(rows), nowMs) : undefined);
      if (fate !== undefined) {
        rows = rows.with(at, { ...row, state: fate.state as Occurrence["state"] });
        continue;
      }
      const token = row.token + 1;
      rows = rows.with(at, { ...row, state: "running", attempts: row.attempts + 1, token, lapsed: false });
      return { ...world, rows, workers: world.workers.with(n, { ...IDLE, claim: { row: at, token, started: false } }) };
    }
  }

  function settled(
    world: World,
    at: number,
    token: number,
  ): { readonly to: World; readonly wrong: string | undefined } {
    const row = world.rows[at] as Occurrence;
    const holds = row.state === "running" && (row.token === token || wrong === "settle checks the state only");
    if (!holds) return { to: world, wrong: undefined };
    const to = { ...world, rows: world.rows.with(at, { ...row, state: "succeeded" as const, lapsed: false }) };
    return { to, wrong: row.token === token ? undefined : "an old token ended a newer run" };
  }

  function stepsOf(world: World, n: number): Step<World>[] {
    const worker = world.workers[n] as Worker;
    const { claim, plan } = worker;
    const steps: Step<World>[] = [];
    const add = (name: string, to: World, more: { outside?: boolean; wrong?: string | undefined } = {}) =>
      steps.push({ name: `worker ${n + 1} ${name}`, to, outside: more.outside ?? false, wrong: more.wrong });
    const become = (to: World, next: Worker): World => ({ ...to, workers: to.workers.with(n, next) });
    if (plan !== undefined) {
      if (wrong !== "advance in two steps") add("advances it", become(advanced(world, plan), IDLE));
      else if (worker.put) add("moves its next time", become({ ...world, next: plan.next }, IDLE));
      else if (mayAdvance(world, plan))
        add("puts what follows", become(withRows(world, plan), { ...worker, put: true }));
      else add("is too late to advance it", become(world, IDLE));
    } else if (claim === undefined) {
      if (world.next !== null && world.next <= world.now) {
        add("finds its time come", become(world, { ...IDLE, plan: planFrom(world.next, world.now) }));
      }
      add("claims", claimed(world, n));
    } else if (!claim.started) {
      const { nominal } = world.rows[claim.row] as Occurrence;
      const early = nominal > world.now ? `the occurrence of ${nominal} started at ${world.now}` : undefined;
      add(`starts that of ${nominal}`, become(world, { ...worker, claim: { ...claim, started: true } }), {
        wrong: early,
      });
    } else {
      const end = settled(world, claim.row, claim.token);
      add("settles", become(end.to, IDLE), { wrong: end.wrong });
    }
    const row = claim === undefined ? undefined : world.rows[claim.row];
    if (claim !== undefined && row?.state === "running" && row.token === claim.token && row.lapsed) {
      add("renews", { ...world, rows: world.rows.with(claim.row, { ...row, lapsed: false }) });
    }
    add("sweeps", { ...world, rows: recovered(world.rows, world.now * UNIT_MS) });
    if (world.left.crashes > 0) {
      const dead = become({ ...world, left: { ...world.left, crashes: world.left.crashes - 1 } }, IDLE);
      add("dies", plan === undefined || worker.put ? dead : { ...dead, orphans: [...dead.orphans, plan] }, {
        outside: true,
      });
    }
    return steps;
  }

  function stepsOfOthers(world: World): Step<World>[] {
    const { now, rows, workers, left } = world;
    const steps: Step<World>[] = [];
    if (now < last + 1)
      steps.push({ name: `the clock goes to ${now + 1}`, to: { ...world, now: now + 1 }, outside: false });
    for (const [i, plan] of world.orphans.entries()) {
      const to = advanced({ ...world, orphans: world.orphans.toSpliced(i, 1) }, plan);
      steps.push({ name: "the plan of a dead worker arrives", to, outside: true });
    }
    for (const [at, row] of rows.entries()) {
      if (row.state !== "running" || row.lapsed) continue;
      const isHeld = workers.some(({ claim }) => claim?.row === at && claim.token === row.token);
      const lapsed = { ...world, rows: rows.with(at, { ...row, lapsed: true }) };
      if (!isHeld) steps.push({ name: `the lease of the lost run of ${row.nominal} ends`, to: lapsed, outside: false });
      else if (left.lapses > 0) {
        const to = { ...lapsed, left: { ...left, lapses: left.lapses - 1 } };
        steps.push({ name: `the lease of ${row.nominal} ends`, to, outside: true });
      }
    }
    return steps;
  }

  return {
    first: {
      now: 0,
      next: 1,
      rows: [newOccurrence(1)],
      workers: Array.from({ length: options.workers }, () => IDLE),
      orphans: [],
      left: options.faults,
    },
    steps: (world) => [...world.workers.flatMap((_, n) => stepsOf(world, n)), ...stepsOfOthers(world)],
    /** Only what makes a difference: of a token, whether it is the row's; of a due time, that of one that waits for it. */
    keyOf({ now, next, rows, workers, orphans, left }) {
      const row = ({ nominal, state, dueMs, lapsed }: Occurrence) =>
        `${nominal}${state}${state === "waiting" ? dueMs / UNIT_MS : ""}${lapsed ? "!" : ""}`;
      const plan = (of: Plan) => `${of.from}>${of.next}:${of.nominals}`;
      const place = ({ plan: planned, put, claim }: Worker) => {
        if (planned !== undefined) return `${plan(planned)}${put}`;
        if (claim === undefined) return "";
        return `${claim.row}${claim.token === rows[claim.row]?.token ? "" : "-"}${claim.started}`;
      };
      return `${now};${next};${rows.map(row)};${workers.map(place).sort()};${orphans.map(plan).sort()};${left.crashes}${left.lapses}`;
    },
    wrongIn({ rows, next }) {
      const nominals = rows.map(({ nominal }) => nominal);
      const twice = nominals.find((nominal, i) => nominals.indexOf(nominal) !== i);
      if (twice !== undefined) return `the nominal time ${twice} has two rows`;
      const running = rows.filter(({ state }) => state === "running");
      if (running.length > 1) return `those of ${running.map(({ nominal }) => nominal).join(" and ")} run at once`;
      if (next === null && !nominals.includes(last)) return `it has ended, and the last nominal time has no row`;
      return undefined;
    },
    isDone: ({ next, rows }) =>
      next === null && rows.every(({ state }) => !["scheduled", "waiting", "running"].includes(state)),
  };
}

function newOccurrence(nominal: number): Occurrence {
  return { nominal, state: "scheduled", dueMs: nominal * UNIT_MS, attempts: 0, token: 0, losses: 0, lapsed: false };
}
