/** The live view in a real terminal: it refreshes, follows the window, answers to keys, and leaves the terminal as it was. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { Lovage } from "lovage";
import { widthOf } from "../../src/cli/width.ts";
import { atEnd } from "../support/cleanup.ts";
import { type Program, runCli } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";
import { cliInTerminal, needTerminal } from "../support/terminal.ts";

const { skip } = needTerminal();
const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";
const SIZE = { rows: 16, columns: 100 };

async function openSchedule(t: TestContext) {
  const env = { LOVAGE_BROKER_URL: `sqlite:${join(await tempDir(t), "top.db")}` };
  const app = new Lovage("top-test", {}, { env });
  const tick = app.task("top.tick", (name: string) => name);
  atEnd(t, () => app.close());
  return { app, tick, env };
}

/** The frames so far, each as its lines without escape sequences. */
function framesOf(program: Program): string[][] {
  const [, ...frames] = program.text.split("\u001b[H");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it takes away
  return frames.map((frame) => frame.replace(/\u001b\[[?\d;]*[a-zA-Z]/g, "").split(/\r?\n/));
}

describe("lovage schedule top", { skip }, () => {
  test("shows what others add a second later, follows the window's size, and ends at q with all as it was", async (t) => {
    const { tick, env } = await openSchedule(t);
    await tick.callAfter("1h", ["first"], { key: "注文:1" });
    await tick.callRepeatedly({ cron: "0 0 1 1 *", timezone: "Europe/Berlin" }, ["year"], { key: "new-year" });
    const { program, resize } = await cliInTerminal(t, ["schedule", "top"], { env, size: SIZE });
    await program.waitForLine(/top\.tick\('first'\)/);
    await program.waitForLine(/new-year +cron 0 0 1 1 \* \(Europe\/Berlin\)/);

    await tick.callAfter("30m", ["second"]);
    await program.waitForLine(/top\.tick\('second'\)/);
    await resize({ rows: 8, columns: 40 });
    await program.waitForLine(/schedule sqlite:.*…/); // its first line, cut
    program.write("q");

    assert.deepEqual(await program.ended, { status: 0, signal: null });
    const frames = framesOf(program);
    assert.ok(frames.length >= 3);
    for (const frame of frames)
      assert.ok(frame.length <= SIZE.rows && frame.every((line) => widthOf(line) <= SIZE.columns));
    const last = frames.at(-1) ?? [];
    assert.ok(last.length <= 8 && last.every((line) => widthOf(line) <= 40), JSON.stringify(last));
    assert.ok(program.text.includes(ENTER));
    assert.ok(program.text.endsWith(LEAVE), JSON.stringify(program.text.slice(-80)));
    assert.ok(!program.text.includes("\u001b[2J"), "the screen is never blank between two frames");
  });

  for (const [name, end] of [
    ["Ctrl-C", (program: Program) => program.write("\u0003")],
    ["a closed input", (program: Program) => program.write("\u0004")],
  ] as const) {
    test(`ends at ${name}, with status 0 and the cursor back`, async (t) => {
      const { env } = await openSchedule(t);
      const { program } = await cliInTerminal(t, ["schedule", "top"], { env, size: SIZE });
      await program.waitForLine(/recurrences: none|next: none/);

      end(program);

      assert.deepEqual(await program.ended, { status: 0, signal: null });
      assert.ok(program.text.endsWith(LEAVE));
    });
  }

  test("says what is wrong in one line before it takes the screen", async (t) => {
    const folder = await tempDir(t);
    const env = { LOVAGE_BROKER_URL: `sqlite:${join(folder, "no/such/folder/x.db")}` };
    const { program } = await cliInTerminal(t, ["schedule", "top"], { env, size: SIZE });

    assert.deepEqual(await program.ended, { status: 1, signal: null });
    assert.match(program.text, /^lovage: .*no\/such\/folder/m);
    assert.ok(!program.text.includes(ENTER));
  });

  test("prints one frame where there is no terminal, or with --once, without an escape sequence", async (t) => {
    const { tick, env } = await openSchedule(t);
    await tick.callAfter("1h", ["only"]);

    const plain = await runCli(t, ["schedule", "top"], { env });
    const json = await runCli(t, ["schedule", "top", "--json"], { env });
    const { program: once } = await cliInTerminal(t, ["schedule", "top", "--once"], { env, size: SIZE });

    assert.equal(plain.status, 0, plain.stderr);
    assert.match(
      plain.stdout,
      /next \(1\)\ndue .*\nin (?:1 h|59 m \d+ s) .*top\.tick\('only'\)\n\nrunning: none\n\nrecurrences: none/,
    );
    assert.equal((JSON.parse(json.stdout) as { next: unknown[] }).next.length, 1);
    assert.equal((await once.ended).status, 0);
    assert.match(once.text, /top\.tick\('only'\)/);
    for (const text of [plain.stdout, json.stdout, once.text]) assert.ok(!text.includes("\u001b"), text);
  });
});
