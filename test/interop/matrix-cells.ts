/** The cells of the interop matrix: what is tried between a client of one language and workers of one or both. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Ledger } from "../support/ledger.ts";
import type { MatrixClient, MatrixSend } from "../support/matrix-clients.ts";
import type { Program } from "../support/processes.ts";
import { until } from "../support/until.ts";

export interface MatrixWorld {
  readonly client: MatrixClient;
  readonly ledger: Ledger;
  readonly folder: string;
  /** The workers on the queue, each with one slot and a window of one more. */
  readonly lovage: Program | undefined;
  readonly python: Program | undefined;
  readonly broker: "rabbitmq" | "redis";
  /** Messages of the queue that some worker has in hand, by the broker itself. */
  unacknowledged(): Promise<number>;
  /** Messages that wait in the queue. */
  waiting(): Promise<number>;
  /** How often each id is to have run, at the end of all cells. */
  readonly expected: Map<string, number>;
}

/** Answers why it is better than what Celery does, if that was seen; the table says "same" otherwise. */
export type Cell = (world: MatrixWorld) => Promise<string | undefined>;

const TEXT = "žluťoučký kůň 🐎 \u0000 \" ' \\ \n ﷽";
/** So many messages that each worker of a queue comes to some. */
const MANY = 60;

export const CELLS: Readonly<Record<string, Cell>> = {
  plain: (world) => echoes(world, { args: [[1, { a: null }], "word"] }, [[1, { a: null }], "word"]),
  kwargs: (world) => echoes(world, { kwargs: { word: "w", value: [true] } }, [[true], "w"]),
  unicode: (world) => echoes(world, { args: [TEXT, TEXT] }, [TEXT, TEXT]),
  "body of 1 MB": async (world) => {
    const id = await world.client.send({ task: "m.length", args: ["a".repeat(1_000_000)] });
    assert.deepEqual(await world.client.end(id), { state: "SUCCESS", value: 1_000_000 });
    return ran(world, id, 1);
  },
  "60 at once": async (world) => {
    const ids: string[] = [];
    for (let i = 0; i < MANY; i += 1) ids.push(await world.client.send({ task: "m.nap", args: [0.01] }));
    for (const id of ids) await ends(world, id, "SUCCESS");
    for (const id of ids) ran(world, id, 1);
    const by = new Set(ids.map((id) => world.ledger.of("begun", "m.nap", id)[0]?.[3]));
    assert.equal(by.size, workersOf(world).length, "every worker has done some");
    return undefined;
  },
  countdown: (world) => notBefore(world, { countdown: 1.5 }),
  eta: (world) => notBefore(world, { etaIn: 1.5 }),
  expires: async (world) => {
    const id = await world.client.send({ task: "m.echo", args: ["late"], countdown: 2, expiresIn: 1 });
    await ends(world, id, "REVOKED");
    return ran(world, id, 0);
  },
  priority: async (world) => {
    const [urgent, patient] = world.broker === "rabbitmq" ? [9, 1] : [0, 9];
    const last: string[] = [];
    const first = await occupied(world, async () => {
      for (let i = 0; i < 8; i += 1) {
        last.push(await world.client.send({ task: "m.echo", args: ["patient"], priority: patient }));
      }
      const id = await world.client.send({ task: "m.echo", args: ["urgent"], priority: urgent });
      // Python's client does not wait until the broker has it.
      await until(async () => (await world.waiting()) === 9);
      return id;
    });
    for (const id of [...last, first]) await ends(world, id, "SUCCESS");
    for (const id of [...last, first]) ran(world, id, 1);
    // The worker that is free first gets it, before any other of them; a second worker takes of the rest meanwhile.
    const orders = workersOf(world).map(({ lines }) =>
      lines.flatMap((line) => [...last, first].filter((id) => line.includes(`[${id}] received`))),
    );
    assert.equal(orders.find((order) => order.includes(first))?.[0], first);
    return undefined;
  },
  retry: async (world) => {
    const id = await world.client.send({ task: "m.retry", args: ["again"] });
    assert.deepEqual(await world.client.end(id), { state: "SUCCESS", value: ["again", 2] });
    return ran(world, id, 3);
  },
  "retries that run out": async (world) => {
    const id = await world.client.send({ task: "m.never" });
    assert.deepEqual(await world.client.end(id), { state: "FAILURE", error: ["KeyError", "gone"] });
    return ran(world, id, 2);
  },
  failure: async (world) => {
    const id = await world.client.send({ task: "m.fail", args: [TEXT] });
    assert.deepEqual(await world.client.end(id), { state: "FAILURE", error: ["ValueError", TEXT] });
    assert.match(world.client.traceback(id), /ValueError/);
    return ran(world, id, 1);
  },
  "custom state": async (world) => {
    const file = join(world.folder, randomUUID());
    const id = await world.client.send({ task: "m.progress", args: [file] });
    try {
      await until(async () => (await world.client.state(id)).state === "PROGRESS");
      assert.deepEqual(await world.client.state(id), { state: "PROGRESS", meta: { done: 1 } });
    } finally {
      // Else it holds its slot for ever.
      writeFileSync(file, "");
    }
    assert.deepEqual(await world.client.end(id), { state: "SUCCESS", value: "all" });
    return ran(world, id, 1);
  },
  "revoke before it is sent": async (world) => {
    const id = randomUUID();
    await world.client.revoke(id, { heardBy: workersOf(world).map(nodeName) });
    await world.python?.waitForLine(new RegExp(`Tasks flagged as revoked: ${id}`));
    await world.client.send({ task: "m.echo", args: ["revoked"], taskId: id });
    await ends(world, id, "REVOKED");
    return ran(world, id, 0);
  },
  "revoke before it starts": async (world) => {
    const id = await occupied(world, async () => {
      const each = await world.client.send({ task: "m.echo", args: ["revoked"] });
      await world.client.revoke(each);
      await world.python?.waitForLine(new RegExp(`Tasks flagged as revoked: ${each}`));
      return each;
    });
    await ends(world, id, "REVOKED");
    return ran(world, id, 0);
  },
  "revoke while it waits": async (world) => {
    // Celery's worker has it in hand until its eta, and says only then what became of it.
    const parked = world.python === undefined;
    const id = await world.client.send({ task: "m.echo", args: ["revoked"], countdown: parked ? 3_600 : 3 });
    await received(world, id);
    if (parked) await until(async () => (await world.unacknowledged()) === 0);
    await world.client.revoke(id);
    await ends(world, id, "REVOKED");
    ran(world, id, 0);
    return parked ? "acknowledged while it waits, REVOKED at once" : undefined;
  },
  "revoke while it runs": async (world) => {
    const id = await world.client.send({ task: "m.sleep", args: [50] });
    await world.ledger.waitFor(1, "begun", "m.sleep", id);
    await world.client.revoke(id, { terminate: true });
    await ends(world, id, "REVOKED");
    assert.equal(world.ledger.count("ended", "m.sleep", id), 0);
    ran(world, id, 1);
    return echoes(world, { args: ["after"] }, ["after", null]);
  },
  "soft time limit": async (world) => {
    const id = await world.client.send({ task: "m.soft", softTimeLimit: 1 });
    assert.deepEqual(await world.client.end(id), { state: "SUCCESS", value: "soft" });
    return ran(world, id, 1);
  },
  "hard time limit": async (world) => {
    const id = await world.client.send({ task: "m.sleep", args: [50], timeLimit: 1 });
    await fails(world, id, "TimeLimitExceeded");
    assert.equal(world.ledger.count("ended", "m.sleep", id), 0);
    return ran(world, id, 1);
  },
  "early ack, killed child": async (world) => {
    const id = await world.client.send({ task: "m.die" });
    await fails(world, id, "WorkerLostError");
    return ran(world, id, 1);
  },
  "late ack, killed child": async (world) => {
    const file = join(world.folder, randomUUID());
    const id = await world.client.send({ task: "m.late", args: [file] });
    assert.deepEqual(await world.client.end(id), { state: "SUCCESS", value: "second" });
    assert.ok(existsSync(file));
    return ran(world, id, 2);
  },
  compression: (world) => echoes(world, { args: [TEXT.repeat(500)], compression: "zlib" }, [TEXT.repeat(500), null]),
  yaml: (world) =>
    echoes(world, { args: [{ a: [1, "žluť", null] }], serializer: "yaml" }, [{ a: [1, "žluť", null] }, null]),
  msgpack: (world) =>
    echoes(world, { args: [{ a: [1, TEXT, null] }], serializer: "msgpack" }, [{ a: [1, TEXT, null] }, null]),
  "msgpack, compressed": (world) =>
    echoes(world, { args: [[TEXT, 2.5]], serializer: "msgpack", compression: "gzip" }, [[TEXT, 2.5], null]),
};

/** What results that come as messages are tried with: who asks is told the last state only, so no state between. */
export const RPC_CELLS: Readonly<Record<string, Cell>> = Object.fromEntries(
  Object.entries(CELLS).filter(([name]) => !/^(custom state|priority|expires|yaml|msgpack)/.test(name)),
);

/** What holds when all cells are through: nothing ran again, and nothing is in hand. */
export async function nothingMore(world: MatrixWorld): Promise<void> {
  for (const [id, count] of world.expected) assert.equal(runs(world, id), count, `runs of ${id}`);
  await until(async () => (await world.unacknowledged()) === 0);
}

async function echoes(world: MatrixWorld, order: Omit<MatrixSend, "task">, value: unknown): Promise<undefined> {
  const id = await world.client.send({ task: "m.echo", ...order });
  assert.deepEqual(await world.client.end(id), { state: "SUCCESS", value });
  return ran(world, id, 1);
}

async function notBefore(world: MatrixWorld, when: Pick<MatrixSend, "countdown" | "etaIn">): Promise<undefined> {
  const sentMs = Date.now();
  const id = await world.client.send({ task: "m.echo", args: ["later"], ...when });
  assert.deepEqual(await world.client.end(id), { state: "SUCCESS", value: ["later", null] });
  const [line] = world.ledger.of("begun", "m.echo", id);
  const afterMs = Number(line?.[4]) - sentMs;
  assert.ok(afterMs >= 1_500, `it began ${afterMs} ms after it was sent`);
  return ran(world, id, 1);
}

/** Every worker has one that runs and one that waits for its slot; what is sent meanwhile stays with the broker. */
async function occupied<T>(world: MatrixWorld, work: () => Promise<T>): Promise<T> {
  const gate = join(world.folder, randomUUID());
  const ids: string[] = [];
  try {
    while (ids.length < 2 * workersOf(world).length) {
      const id = await world.client.send({ task: "m.hold", args: [gate] });
      ids.push(id);
      await received(world, id);
    }
    return await work();
  } finally {
    writeFileSync(gate, "");
    for (const id of ids) await ends(world, id, "SUCCESS");
  }
}

/** A worker says that it has it. */
async function received(world: MatrixWorld, id: string): Promise<void> {
  await until(() => workersOf(world).some(({ lines }) => lines.some((line) => line.includes(`[${id}] received`))));
}

async function ends({ client }: MatrixWorld, id: string, state: string): Promise<void> {
  assert.equal((await client.end(id)).state, state);
}

async function fails({ client }: MatrixWorld, id: string, type: string): Promise<void> {
  const { state, error } = await client.end(id);
  assert.deepEqual([state, error?.[0]], ["FAILURE", type]);
}

/** So often it has run, and will have at the end of all. */
function ran(world: MatrixWorld, id: string, count: number): undefined {
  world.expected.set(id, count);
  assert.equal(runs(world, id), count, "runs");
}

function runs({ ledger }: MatrixWorld, id: string): number {
  return ledger.of("begun").filter(([, , each]) => each === id).length;
}

function workersOf({ lovage, python }: MatrixWorld): Program[] {
  return [lovage, python].filter((each) => each !== undefined);
}

function nodeName({ lines }: Program): string {
  return lines.map((line) => /(\S+@\S+) ready\.$/.exec(line)?.[1]).find((name) => name !== undefined) ?? "";
}
