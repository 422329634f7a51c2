/** The cells of the interop matrix: what is tried between a client of one language and workers of one or both. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Ledger } from "../support/ledger.ts";
import type { MatrixClient, MatrixSend } from "../support/matrix-clients.ts";

export interface MatrixWorld {
  readonly client: MatrixClient;
  readonly ledger: Ledger;
  readonly folder: string;
  /** Workers on the queue, each with one slot. */
  readonly workers: number;
  readonly broker: "rabbitmq" | "redis";
}

export type Cell = (world: MatrixWorld) => Promise<void>;

const TEXT = "žluťoučký kůň 🐎 \u0000 \" ' \\ \n ﷽";

export const CELLS: Readonly<Record<string, Cell>> = {
  plain: (world) => echoes(world, { args: [[1, { a: null }], "word"] }, [[1, { a: null }], "word"]),
  kwargs: (world) => echoes(world, { kwargs: { word: "w", value: [true] } }, [[true], "w"]),
  unicode: (world) => echoes(world, { args: [TEXT, TEXT] }, [TEXT, TEXT]),
  "body of 1 MB": async ({ client }) => {
    const id = await client.send({ task: "m.length", args: ["a".repeat(1_000_000)] });
    assert.deepEqual(await client.end(id), { state: "SUCCESS", value: 1_000_000 });
  },
  countdown: (world) => notBefore(world, { countdown: 1.5 }),
  eta: (world) => notBefore(world, { etaIn: 1.5 }),
  expires: async (world) => {
    const id = await world.client.send({ task: "m.echo", args: ["late"], countdown: 2, expiresIn: 1 });
    await ends(world, id, "REVOKED");
    assert.equal(runs(world, id), 0);
  },
  priority: async (world) => {
    const [urgent, patient] = world.broker === "rabbitmq" ? [9, 1] : [0, 9];
    await occupied(world, 2, async () => {
      // One more for each worker is fetched already, whatever its priority.
      const fillers = await sends(world.client, world.workers, { task: "m.echo", args: ["filler"] });
      await wait(300);
      const last = await world.client.send({ task: "m.echo", args: ["patient"], priority: patient });
      const first = await world.client.send({ task: "m.echo", args: ["urgent"], priority: urgent });
      for (const id of [...fillers, last, first]) await ends(world, id, "SUCCESS");
      if (world.workers > 1) return;
      const order = world.ledger.of("begun").map(([, , id]) => id);
      assert.ok(order.indexOf(first) < order.indexOf(last), "the urgent one began first");
    });
  },
  retry: async (world) => {
    const id = await world.client.send({ task: "m.retry", args: ["again"] });
    assert.deepEqual(await world.client.end(id), { state: "SUCCESS", value: ["again", 2] });
    assert.equal(runs(world, id), 3);
  },
  failure: async (world) => {
    const id = await world.client.send({ task: "m.fail", args: [TEXT] });
    assert.deepEqual(await world.client.end(id), { state: "FAILURE", error: ["ValueError", TEXT] });
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
  },
  "revoke before it starts": async (world) => {
    const id = await occupied(world, 2, async () => {
      const each = await world.client.send({ task: "m.echo", args: ["revoked"] });
      await wait(300);
      await world.client.revoke(each);
      return each;
    });
    await ends(world, id, "REVOKED");
    assert.equal(runs(world, id), 0);
  },
  "revoke while it waits": async (world) => {
    const id = await world.client.send({ task: "m.echo", args: ["revoked"], countdown: 3 });
    await wait(700);
    await world.client.revoke(id);
    await ends(world, id, "REVOKED");
    await wait(100);
    assert.equal(runs(world, id), 0);
  },
  "revoke while it runs": async (world) => {
    const id = await world.client.send({ task: "m.sleep", args: [50] });
    await world.ledger.waitFor(1, "begun", "m.sleep", id);
    // Celery learns of its own process a moment later.
    await wait(300);
    await world.client.revoke(id, { terminate: true });
    await ends(world, id, "REVOKED");
    assert.equal(world.ledger.count("ended", "m.sleep", id), 0);
    await echoes(world, { args: ["after"] }, ["after", null]);
  },
  "soft time limit": async (world) => {
    const id = await world.client.send({ task: "m.soft", softTimeLimit: 1 });
    assert.deepEqual(await world.client.end(id), { state: "SUCCESS", value: "soft" });
  },
  "hard time limit": async (world) => {
    const id = await world.client.send({ task: "m.sleep", args: [50], timeLimit: 1 });
    const { state, error } = await world.client.end(id);
    assert.deepEqual([state, error?.[0]], ["FAILURE", "TimeLimitExceeded"]);
    assert.equal(world.ledger.count("ended", "m.sleep", id), 0);
  },
  "late ack, killed child": async (world) => {
    const file = join(world.folder, randomUUID());
    const id = await world.client.send({ task: "m.late", args: [file] });
    assert.deepEqual(await world.client.end(id), { state: "SUCCESS", value: "second" });
    assert.equal(runs(world, id), 2);
    assert.ok(existsSync(file));
  },
  compression: (world) => echoes(world, { args: [TEXT.repeat(500)], compression: "zlib" }, [TEXT.repeat(500), null]),
  yaml: (world) =>
    echoes(world, { args: [{ a: [1, "žluť", null] }], serializer: "yaml" }, [{ a: [1, "žluť", null] }, null]),
  msgpack: (world) =>
    echoes(world, { args: [{ a: [1, TEXT, null] }], serializer: "msgpack" }, [{ a: [1, TEXT, null] }, null]),
};

async function echoes(world: MatrixWorld, order: Omit<MatrixSend, "task">, value: unknown): Promise<void> {
  const id = await world.client.send({ task: "m.echo", ...order });
  assert.deepEqual(await world.client.end(id), { state: "SUCCESS", value });
  assert.equal(runs(world, id), 1);
}

async function notBefore(world: MatrixWorld, when: Pick<MatrixSend, "countdown" | "etaIn">): Promise<void> {
  const sentMs = Date.now();
  const id = await world.client.send({ task: "m.echo", args: ["later"], ...when });
  assert.deepEqual(await world.client.end(id), { state: "SUCCESS", value: ["later", null] });
  const [line] = world.ledger.of("begun", "m.echo", id);
  const afterMs = Number(line?.[4]) - sentMs;
  assert.ok(afterMs >= 1_500, `it began ${afterMs} ms after it was sent`);
  assert.equal(runs(world, id), 1);
}

/** Every slot is busy meanwhile. */
async function occupied<T>(world: MatrixWorld, seconds: number, work: () => Promise<T>): Promise<T> {
  const ids = await sends(world.client, world.workers, { task: "m.sleep", args: [seconds] });
  for (const id of ids) await world.ledger.waitFor(1, "begun", "m.sleep", id);
  const done = await work();
  for (const id of ids) await ends(world, id, "SUCCESS");
  return done;
}

async function sends(client: MatrixClient, count: number, order: MatrixSend): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i += 1) ids.push(await client.send(order));
  return ids;
}

async function ends({ client }: MatrixWorld, id: string, state: string): Promise<void> {
  assert.equal((await client.end(id)).state, state);
}

function runs({ ledger }: MatrixWorld, id: string): number {
  return ledger.of("begun").filter(([, , each]) => each === id).length;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1_500; i += 1) {
    if (await holds()) return;
    await wait(20);
  }
  throw new Error("it never came");
}
