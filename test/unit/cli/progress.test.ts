import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Progress } from "../../../src/cli/progress.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

function open(isTTY: boolean) {
  const clock = new FakeClock();
  const written: string[] = [];
  const output = { isTTY, columns: 12, write: (text: string) => written.push(text) };
  return { clock, written, progress: new Progress(output, clock) };
}

describe("a progress line", () => {
  test("comes after two seconds, ten times a second at most, in one line, and goes", async () => {
    const { clock, written, progress } = open(true);
    progress.show(() => "too early");
    await clock.advance(2_000);
    progress.show(() => "200 cancelled, 3 running");
    await clock.advance(99);
    progress.show(() => "too soon after");
    await clock.advance(1);
    progress.show(() => "400");
    progress.end();
    progress.end();

    assert.deepEqual(written, ["\r\u001b[K200 cancell", "\r\u001b[K400", "\r\u001b[K"]);
  });

  test("writes nothing where nobody watches, or when it was short", async () => {
    const away = open(false);
    await away.clock.advance(10_000);
    away.progress.show(() => assert.fail("made"));
    away.progress.end();
    const short = open(true);
    short.progress.show(() => "now");
    short.progress.end();

    assert.deepEqual([...away.written, ...short.written], []);
  });
});
