/**
 * What goes wrong in a world. Each seed turns on a random subset of the kinds (swarm testing: rare combinations come up so), with
 * parameters of its own; each kind has its own stream of chance. All of it ends at one moment: from then on the world must become right.
 */
import type { Network } from "./link.ts";
import type { Chance } from "./random.ts";
import type { World } from "./world.ts";

export const FAULT_KINDS = [
  "latency",
  "lose-request",
  "lose-answer",
  "hold-request",
  "lose-hint",
  "cut",
  "partition",
  "one-way",
  "stand",
  "kill",
  "kill-all",
  "orphans",
  "stop",
  "store-slow",
  "store-away",
  "store-crash",
  "clock-offset",
  "clock-drift",
  "clock-step",
  "store-step",
  "handler-fails",
  "handler-retries",
  "handler-crashes",
  "handler-is-long",
  "handler-is-refused",
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];

const LIKELY = 0.25;
/** What overlaps runs is wanted more often. */
const LIKELIER: ReadonlySet<FaultKind> = new Set<FaultKind>(["stand", "kill", "handler-is-long"]);
/** One in so many worlds has no fault at all: there, every callback must start once, and in time. */
const CALM = 0.12;

export function drawFaults(chance: Chance): Set<FaultKind> {
  if (chance.of(CALM)) return new Set();
  return new Set(FAULT_KINDS.filter((kind) => chance.of(LIKELIER.has(kind) ? 1.6 * LIKELY : LIKELY)));
}

/** Kinds after which a lease may be lost, and a callback run twice. */
export const LOSES_LEASES: ReadonlySet<FaultKind> = new Set<FaultKind>([
  "latency",
  "lose-request",
  "lose-answer",
  "hold-request",
  "cut",
  "partition",
  "one-way",
  "stand",
  "kill",
  "kill-all",
  "stop",
  "store-slow",
  "store-away",
  "store-crash",
  "clock-drift",
  "store-step",
  "handler-crashes",
  "handler-retries",
]);

export function networkOf(kinds: ReadonlySet<FaultKind>, chance: Chance): Network {
  const has = (kind: FaultKind) => kinds.has(kind);
  const leastMs = chance.between(0.05, 1);
  return {
    delayMs: [leastMs, leastMs + chance.between(0.05, has("latency") ? chance.spread(10, 800) : 4)],
    loseRequest: has("lose-request") ? chance.between(0, 0.1) : 0,
    loseAnswer: has("lose-answer") ? chance.between(0, 0.1) : 0,
    holdRequest: has("hold-request") ? chance.between(0, 0.05) : 0,
    loseHint: has("lose-hint") ? chance.between(0, 1) : 0,
  };
}

/** The network as it is when nothing is wrong with it. */
export function healNetwork(network: Network): void {
  network.delayMs = [0.05, 3];
  network.loseRequest = network.loseAnswer = network.holdRequest = network.loseHint = 0;
}

/** Each kind's happenings, spread over the world's time. */
export function plan(world: World, kinds: ReadonlySet<FaultKind>, chance: Chance, untilMs: number): void {
  for (const kind of kinds) {
    const happen = HAPPENINGS[kind];
    if (happen === undefined) continue;
    const own = chance.fork(kind);
    const everyMs = own.spread(untilMs / 8, untilMs);
    for (let atMs = own.between(0, everyMs); atMs < untilMs; atMs += own.between(0.2, 1.8) * everyMs) {
      world.loop.at(atMs, 0, () => {
        world.injected(kind);
        happen(world, own, untilMs);
      });
    }
  }
}

type Happening = (world: World, chance: Chance, untilMs: number) => void;

const HAPPENINGS: Partial<Record<FaultKind, Happening>> = {
  cut: (world, chance) => chance.pick(world.links).cut(),
  partition: (world, chance, untilMs) => {
    const healMs = Math.min(untilMs, world.loop.nowMs + chance.spread(20, 4_000));
    for (const link of world.links) {
      if (chance.of(0.5)) link.blockedOutMs = link.blockedInMs = healMs;
    }
  },
  "one-way": (world, chance, untilMs) => {
    const link = chance.pick(world.links);
    const healMs = Math.min(untilMs, world.loop.nowMs + chance.spread(20, 4_000));
    if (chance.of(0.5)) link.blockedOutMs = healMs;
    else link.blockedInMs = healMs;
  },
  stand: (world, chance, untilMs) => {
    const { process } = chance.pick(world.workers).link;
    process.stand();
    const forMs = world.leaseMs * chance.between(0.2, 3.5);
    world.loop.at(Math.min(untilMs, world.loop.nowMs + forMs), 0, () => process.goOn());
  },
  kill: (world, chance) => world.kill(chance.whole(0, world.workers.length - 1), chance.spread(1, 3_000)),
  "kill-all": (world, chance) => {
    for (let i = 0; i < world.workers.length; i++) world.kill(i, chance.spread(1, 1_000));
  },
  stop: (world, chance) => world.stopWarm(chance.whole(0, world.workers.length - 1), chance.spread(1, 2_000)),
  "store-slow": (world, chance, untilMs) => {
    world.server.slowMs = chance.spread(5, 1_000);
    world.loop.at(Math.min(untilMs, world.loop.nowMs + chance.spread(50, 4_000)), 0, () => {
      world.server.slowMs = 0;
    });
  },
  "store-away": (world, chance, untilMs) => away(world, Math.min(untilMs, world.loop.nowMs + chance.spread(10, 4_000))),
  "store-crash": (world, chance, untilMs) => {
    // What it was doing is done or not, and nobody is told; what it acknowledged stays.
    for (const link of world.links) link.cut();
    away(world, Math.min(untilMs, world.loop.nowMs + chance.spread(50, 2_000)));
  },
  "clock-step": (world, chance) => chance.pick(world.clocks).step(stepOf(chance)),
  "store-step": (world, chance) => world.storeClock.step(stepOf(chance)),
};

function away(world: World, untilMs: number): void {
  world.server.away = true;
  world.loop.at(untilMs, 0, () => {
    world.server.away = false;
  });
}

/** Whole milliseconds, back or forth. */
function stepOf(chance: Chance): number {
  return (chance.of(0.5) ? 1 : -1) * chance.spread(1, 4_000);
}
