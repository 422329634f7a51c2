import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { queueNamed } from "../../../src/brokers/topology.ts";
import { Consumed, type Consuming } from "../../../src/worker/consumed.ts";

/** A connection that notes what is asked of it. */
function connection(refuse?: string): Consuming & { readonly noted: string[] } {
  const noted: string[] = [];
  return {
    noted,
    async begin({ name }) {
      if (name === refuse) throw new Error(`${name} is refused`);
      noted.push(`begin ${name}`);
    },
    async end(name) {
      noted.push(`end ${name}`);
    },
  };
}

describe("the queues that a worker consumes", () => {
  test("change on the connection in use, and are the new ones on the next", async () => {
    const consumed = new Consumed([queueNamed("a"), queueNamed("b")]);
    const { names } = consumed;
    const first = connection();
    consumed.attach(first);

    assert.equal(await consumed.add(queueNamed("c")), true);
    assert.equal(await consumed.cancel("a"), true);

    assert.deepEqual(first.noted, ["begin c", "end a"]);
    assert.deepEqual([...names], ["b", "c"]);
    assert.deepEqual(
      consumed.queues.map((each) => each.name),
      ["b", "c"],
    );
  });

  test("change without a connection too", async () => {
    const consumed = new Consumed([queueNamed("a")]);
    const lost = connection();
    consumed.attach(lost);
    consumed.detach(lost);

    await consumed.add(queueNamed("b"));
    await consumed.cancel("a");

    assert.deepEqual(lost.noted, []);
    assert.deepEqual([...consumed.names], ["b"]);
  });

  test("change on the newest connection: an old one that ends late ends nothing", async () => {
    const consumed = new Consumed([]);
    const [old, next] = [connection(), connection()];
    consumed.attach(old);
    consumed.attach(next);
    consumed.detach(old);
    await consumed.add(queueNamed("a"));
    assert.deepEqual([old.noted, next.noted], [[], ["begin a"]]);
  });

  test("that are there already, or are not, change nothing", async () => {
    const consumed = new Consumed([queueNamed("a")]);
    const live = connection();
    consumed.attach(live);
    assert.equal(await consumed.add(queueNamed("a")), false);
    assert.equal(await consumed.cancel("b"), false);
    assert.deepEqual(live.noted, []);
  });

  test("that the broker refuses are not consumed, also not after a reconnect", async () => {
    const consumed = new Consumed([queueNamed("a")]);
    consumed.attach(connection("b"));
    await assert.rejects(consumed.add(queueNamed("b")), /b is refused/);
    assert.deepEqual([...consumed.names], ["a"]);
  });
});
