import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { ScheduleEvents } from "../../../src/schedule/events.ts";

function openEvents() {
  const logged: { text: string; error: unknown }[] = [];
  const error = (text: string, fields: { error?: unknown } = {}) => logged.push({ text, error: fields.error });
  return { events: new ScheduleEvents(() => ({ error }) as never), logged };
}

describe("the events of a schedule", () => {
  test("cost an emitter one look while nobody listens, and again when the last one has left", () => {
    const { events } = openEvents();
    assert.equal(events.listening("cancelled"), null);

    const first = events.on("cancelled", () => undefined);
    const second = events.on("cancelled", () => undefined);
    first();
    assert.notEqual(events.listening("cancelled"), null);
    second();
    second();

    assert.equal(events.listening("cancelled"), null);
    assert.equal(events.listening("lost"), null);
  });

  test("reach each listener once for each time that it listens, in the order they came", () => {
    const { events } = openEvents();
    const heard: string[] = [];
    const listener = ({ id }: { id: string }) => heard.push(`a ${id}`);
    events.on("cancelled", listener);
    events.on("cancelled", ({ id }) => heard.push(`b ${id}`));
    const off = events.on("cancelled", listener);

    events.listening("cancelled")?.({ id: "1", answer: "cancelled" });
    off();
    events.listening("cancelled")?.({ id: "2", answer: "stopped" });

    assert.deepEqual(heard, ["a 1", "b 1", "a 1", "a 2", "b 2"]);
  });

  test("a listener that throws, or rejects, is logged and keeps nobody else from hearing", async () => {
    const { events, logged } = openEvents();
    const heard: number[] = [];
    events.on("clock-step", () => {
      throw new Error("at once");
    });
    events.on("clock-step", async () => {
      await turn();
      throw "later";
    });
    events.on("clock-step", ({ deltaMs }) => heard.push(deltaMs));

    events.listening("clock-step")?.({ deltaMs: -5_000 });
    await turn();
    await turn();

    assert.deepEqual(heard, [-5_000]);
    assert.deepEqual(
      logged.map(({ text, error }) => `${text}: ${(error as Error).message}`),
      [
        "A listener of the schedule's event clock-step failed: at once",
        "A listener of the schedule's event clock-step failed: later",
      ],
    );
  });

  test("a listener may stop listening, and let others listen, while it is told", () => {
    const { events } = openEvents();
    const heard: string[] = [];
    const off = events.on("cancelled", ({ id }) => {
      heard.push(`first ${id}`);
      off();
      events.on("cancelled", (event) => heard.push(`second ${event.id}`));
    });

    events.listening("cancelled")?.({ id: "1", answer: "cancelled" });
    events.listening("cancelled")?.({ id: "2", answer: "cancelled" });

    assert.deepEqual(heard, ["first 1", "second 2"]);
  });

  test("that there are not are refused by name", () => {
    const { events } = openEvents();

    assert.throws(() => events.on("strated" as never, () => undefined), {
      code: "ERR_INVALID_INPUT",
      message: /no event "strated".*scheduled, started, settled, cancelled, expired, lost, clock-step/,
    });
    assert.throws(() => events.on("__proto__" as never, () => undefined), { code: "ERR_INVALID_INPUT" });
    assert.throws(() => events.on("lost", undefined as never), /must be a function, not undefined/);
  });
});
