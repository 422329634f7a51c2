/** What is done to a world while its load runs: each scenario is a bounded series of faults. */
import { setTimeout as wait } from "node:timers/promises";
import type { World } from "./world.ts";

export const SCENARIOS = ["kill", "all", "stop", "server", "disk"] as const;
export type ScenarioName = (typeof SCENARIOS)[number];

export interface ScenarioOptions {
  readonly times: number;
  /** Mean time between two faults. */
  readonly everyMs: number;
}

const NEARLY_FULL_BYTES = 8 * 1024 * 1024;

type Scenario = (world: World, options: ScenarioOptions) => Promise<void>;

/** Of kills, this part is of the main process alone: its children must end by themselves. */
const PARENT_ALONE = 0.25;

export const scenarios: Readonly<Record<ScenarioName, Scenario>> = {
  /** kill -9 of one worker at any instant, every other time also while one boots; it starts again at once. */
  async kill(world, { times, everyMs }) {
    const { fleet, random } = world;
    for (let i = 0; i < times; i++) {
      if (i % 2 === 0) await fleet.ready();
      await wait(random.between(0, 2 * everyMs));
      const name = random.pick(fleet.names);
      await fleet.kill(name, random.chance(PARENT_ALONE) ? "kill-parent" : "kill");
      fleet.start(name);
    }
  },

  /** All workers at one instant. */
  async all(world, { times, everyMs }) {
    const { fleet, random } = world;
    for (let i = 0; i < times; i++) {
      await fleet.ready();
      await wait(random.between(0.5 * everyMs, 1.5 * everyMs));
      await Promise.all(fleet.names.map((name) => fleet.kill(name, "kill-all")));
      fleet.startAll();
    }
  },

  /** A worker stands still for up to twice its lease, and goes on as if nothing had been. By turns with its children, and its main process alone. */
  async stop(world, { times, everyMs }) {
    const { fleet, random, options } = world;
    for (let i = 0; i < times; i++) {
      await fleet.ready();
      await wait(random.between(0.5 * everyMs, 1.5 * everyMs));
      const name = random.pick(fleet.names);
      if (i % 2 === 0) fleet.stop(name);
      else fleet.stopParent(name);
      await wait(random.between(1.1, 2.2) * options.leaseMs);
      fleet.continue(name);
    }
  },

  /** The store's own server, again and again. */
  async server(world, { times, everyMs }) {
    const { random, fleet, options } = world;
    const { server, kind } = options.store;
    if (server === undefined) throw new Error(`${kind} has no server to kill`);
    for (let i = 0; i < times; i++) {
      await wait(random.between(0.5 * everyMs, 1.5 * everyMs));
      // An answer to each claim may be lost, and each lease may run out before the server is back.
      world.note({ what: "server-kill", who: kind, wallMs: Date.now(), pids: [], mayRepeat: 2 * fleet.slots });
      await server.kill();
      await wait(random.between(0, 500));
      await server.start();
    }
  },

  /**
   * The disk of the file fills up, and is freed after a while. By turns to the last byte, and to where nothing new is taken any more and what
   * there is can still end.
   */
  async disk(world, { times, everyMs }) {
    const { random, fleet, options } = world;
    const { disk, kind } = options.store;
    if (disk === undefined) throw new Error(`${kind} has no disk of its own to fill`);
    for (let i = 0; i < times; i++) {
      await wait(random.between(0.5 * everyMs, 1.5 * everyMs));
      const forMs = random.between(500, 2 * options.leaseMs);
      // What ended could not be recorded, perhaps, before its lease ran out: each time anew.
      const mayRepeat = fleet.slots * (1 + Math.ceil(forMs / options.leaseMs));
      world.note({ what: "disk-full", who: kind, wallMs: Date.now(), pids: [], mayRepeat });
      disk.fill(i % 2 === 0 ? 0 : NEARLY_FULL_BYTES);
      await wait(forMs);
      disk.free();
      world.note({ what: "disk-freed", who: kind, wallMs: Date.now(), pids: [], mayRepeat: 0 });
    }
  },
};
