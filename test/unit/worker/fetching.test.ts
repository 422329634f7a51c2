import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createLogger } from "../../../src/kit/log.ts";
import { Fetching } from "../../../src/worker/fetching.ts";

function world() {
  const asked: string[] = [];
  const lines: string[] = [];
  const state = { room: 2, held: 0, fails: false };
  const fetching = new Fetching({
    room: () => state.room,
    held: () => state.held,
    async consume(window) {
      asked.push(`consume ${window}`);
      if (state.fails) throw new Error("refused");
    },
    pause: async () => void asked.push("pause"),
    log: createLogger({ level: "debug", destination: (line) => lines.push(line) }),
  });
  return { asked, lines, state, fetching };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("fetching only when a slot is free", () => {
  test("asks for one more than what runs unacknowledged, and for nothing while no slot is free", async () => {
    const { asked, state, fetching } = world();
    await fetching.start();
    Object.assign(state, { room: 1, held: 1 }); // one runs, acknowledged late
    fetching.notice();
    await turn();
    state.room = 0;
    fetching.notice();
    await turn();
    Object.assign(state, { room: 1, held: 0 });
    fetching.notice();
    await turn();
    assert.deepEqual(asked, ["consume 1", "consume 2", "pause", "consume 1"]);
  });

  test("follows what changes while it asks, and does not ask twice for the same", async () => {
    const { asked, state, fetching } = world();
    const started = fetching.start();
    state.room = 0;
    fetching.notice();
    await started;
    fetching.notice();
    fetching.notice();
    await turn();
    assert.deepEqual(asked, ["consume 1", "pause"]);
  });

  test("says what fails: at the start to who starts it, later in the log; and tries again", async () => {
    const first = world();
    first.state.fails = true;
    await assert.rejects(first.fetching.start(), /refused/);

    const { asked, lines, state, fetching } = world();
    state.room = 0;
    await fetching.start();
    Object.assign(state, { room: 1, fails: true });
    fetching.notice();
    await turn();
    assert.ok(lines.some((line) => /could not be changed/.test(line)));
    state.fails = false;
    fetching.notice();
    await turn();
    assert.deepEqual(asked, ["consume 1", "consume 1"]);
  });

  test("asks for less at once, and for more when what ended in this turn is counted no more", async () => {
    const { asked, state, fetching } = world();
    Object.assign(state, { room: 1, held: 1 });
    await fetching.start();
    state.room = 0;
    fetching.notice();
    assert.deepEqual(asked, ["consume 2", "pause"], "before anything more is acknowledged");
    await turn();
    state.room = 1;
    fetching.notice();
    state.held = 0;
    await turn();
    assert.deepEqual(asked, ["consume 2", "pause", "consume 1"]);
  });

  test("changes nothing once it is stopped", async () => {
    const { asked, state, fetching } = world();
    await fetching.start();
    await fetching.stop();
    state.room = 0;
    fetching.notice();
    await turn();
    assert.deepEqual(asked, ["consume 1"]);
  });
});
