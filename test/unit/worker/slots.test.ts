import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Pool } from "../../../src/pool/pool.ts";
import { Slots, type Waiting } from "../../../src/worker/slots.ts";

/** A pool of which only the slots count. */
class FakePool {
  free: number;
  #listeners = new Set<() => void>();

  constructor(size: number) {
    this.free = size;
  }

  onFree(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  take(): void {
    this.free -= 1;
  }

  finishOne(): void {
    this.free += 1;
    for (const listener of this.#listeners) listener();
  }
}

function setUp(size: number) {
  const pool = new FakePool(size);
  const slots = new Slots(pool as unknown as Pool);
  const started: string[] = [];
  const request = (name: string): Waiting => ({
    async start() {
      started.push(name);
      pool.take();
    },
  });
  return { pool, slots, started, request };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("the slots that messages and callbacks share", () => {
  test("start requests in the order they came, one for each free slot", async () => {
    const { pool, slots, started, request } = setUp(2);

    for (const name of ["a", "b", "c", "d"]) slots.add(request(name));
    await turn();
    assert.deepEqual(started, ["a", "b"]);
    assert.equal(slots.waiting, 2);

    pool.finishOne();
    await turn();
    assert.deepEqual(started, ["a", "b", "c"]);
  });

  test("a slot that is set aside for a claim starts no request", async () => {
    const { slots, started, request } = setUp(1);

    assert.equal(slots.reserve(), 1);
    slots.add(request("a"));
    await turn();
    assert.deepEqual(started, []);

    slots.release(1);
    await turn();
    assert.deepEqual(started, ["a"]);
  });

  test("callbacks that were refused get the next slot, though requests wait", async () => {
    const { pool, slots, started, request } = setUp(1);
    let callbackTurns = 0;
    slots.onCallbackTurn(() => {
      callbackTurns += 1;
      if (slots.reserve() === 1) {
        started.push("callback");
        pool.take();
        slots.release(1);
      }
    });
    for (const name of ["a", "b", "c"]) slots.add(request(name));
    await turn();

    assert.equal(slots.reserve(), 0);
    pool.finishOne();
    await turn();

    assert.equal(callbackTurns, 1);
    assert.deepEqual(started, ["a", "callback"]);
  });

  test("a flood of callbacks leaves requests every other slot", async () => {
    const { pool, slots, started, request } = setUp(1);
    slots.onCallbackTurn(() => {
      if (slots.reserve() === 1) {
        started.push("callback");
        pool.take();
        slots.release(1);
      }
    });
    for (const name of ["a", "b", "c"]) slots.add(request(name));
    await turn();

    for (let i = 0; i < 4; i += 1) {
      slots.wantForCallbacks();
      pool.finishOne();
      await turn();
    }

    assert.deepEqual(started, ["a", "callback", "b", "callback", "c"]);
  });

  test("when closed, nothing starts, and what waited is handed back", async () => {
    const { pool, slots, started, request } = setUp(1);
    slots.add(request("a"));
    slots.add(request("b"));
    await turn();

    const left = slots.close();
    pool.finishOne();
    await turn();

    assert.equal(left.length, 1);
    assert.equal(slots.reserve(), 0);
    assert.deepEqual(started, ["a"]);
  });
});
