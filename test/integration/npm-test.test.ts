/** `npm test` itself, in a small tree of its own: that it fails when it should, says why, and leaves nothing behind. */
import assert from "node:assert/strict";
import { cp, mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { processesOfRun } from "../../scripts/services/tagged.ts";
import { Program } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";

const ROOT = join(import.meta.dirname, "../..");

/** A tree with our scripts and the given files, and an empty folder as its temporary one. */
async function tree(t: TestContext, files: Readonly<Record<string, string>>): Promise<{ root: string; tmp: string }> {
  const folder = await tempDir(t);
  const [root, tmp] = [join(folder, "tree"), join(folder, "tmp")];
  await mkdir(root);
  await mkdir(tmp);
  for (const name of ["scripts", "package.json", "tsconfig.json", "biome.json"]) {
    await cp(join(ROOT, name), join(root, name), { recursive: true });
  }
  await symlink(join(ROOT, "node_modules"), join(root, "node_modules"));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), text);
  }
  return { root, tmp };
}

function start(t: TestContext, { root, tmp }: { root: string; tmp: string }, args: string[], env = {}): Program {
  return new Program(t, process.execPath, {
    args: ["scripts/start.js", "scripts/test.ts", ...args],
    cwd: root,
    env: { TMPDIR: tmp, ...env },
  });
}

const PASSES = 'import { test } from "node:test";\n\ntest("passes", () => {});\n';

describe("npm test", () => {
  test("ends with status 0, the runner's closing lines and the counts when all is well", async (t) => {
    const place = await tree(t, { "test/unit/good.test.ts": PASSES });

    const program = start(t, place, ["test/unit"]);

    assert.equal((await program.ended).status, 0, program.text);
    assert.match(program.stdout, /^ℹ tests 1$/m);
    assert.match(program.stdout, /^1 passed, 0 failed, 0 skipped$/m);
    assert.deepEqual(await readdir(place.tmp), []);
  });

  test("fails over a test that fails, and over a file that cannot be loaded", async (t) => {
    const place = await tree(t, {
      "test/unit/good.test.ts": PASSES,
      "test/unit/bad.test.ts":
        'import { test } from "node:test";\ntest("is wrong", () => { throw new Error("on purpose"); });\n',
      "test/unit/broken.test.ts": 'import "./not-there.ts";\n',
    });

    const program = start(t, place, ["test/unit"]);

    assert.equal((await program.ended).status, 1, program.text);
    assert.match(program.stdout, /^failed +is wrong \(test\/unit\/bad\.test\.ts\): on purpose$/m);
    assert.match(program.stdout, /^1 passed, 2 failed, 0 skipped$/m);
  });

  test("fails over a type that does not fit, and over style, also when every test passes", async (t) => {
    const place = await tree(t, {
      "test/unit/good.test.ts": PASSES,
      "src/wrong.ts": 'export const count: number = "many";\n',
      "src/style.ts": "export var old = 1\n",
    });

    const program = start(t, place, []);

    assert.equal((await program.ended).status, 1, program.text);
    assert.match(program.stdout, /src\/wrong\.ts.*TS2322/);
    assert.match(program.stdout, /^problem +types: see above$/m);
    assert.match(program.stdout, /^problem +lint: see above$/m);
    assert.match(program.stdout, /^1 passed, 0 failed, 0 skipped$/m);
  });

  test("fails over what a test leaves behind, names it, and clears it away", async (t) => {
    const place = await tree(t, {
      "test/unit/leaves.test.ts": `import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
test("leaves a process and a folder", () => {
  mkdtempSync(join(tmpdir(), "forgotten-"));
  spawn("sleep", ["600"], { detached: true, stdio: "ignore" }).unref();
  console.log("run", process.env.LOVAGE_TEST_RUN);
});
`,
    });

    const program = start(t, place, ["test/unit"]);

    assert.equal((await program.ended).status, 1, program.text);
    assert.match(program.stdout, /^left +process \d+: sleep 600$/m);
    assert.match(program.stdout, /^left +temporary forgotten-/m);
    assert.match(program.stdout, /^1 passed, 0 failed, 0 skipped$/m);
    const [, run = ""] = program.stdout.match(/^run (\S+)$/m) ?? [];
    assert.notEqual(run, "");
    assert.deepEqual(processesOfRun(run), []);
    assert.deepEqual(await readdir(place.tmp), []);
  });

  test("fails over a file that does not end, and says what keeps it", async (t) => {
    const place = await tree(t, {
      "test/unit/stays.test.ts": `import { createServer } from "node:net";
import { test } from "node:test";
test("forgets its server", () => void createServer().listen(0, "127.0.0.1"));
`,
    });

    const program = start(t, place, ["test/unit"]);

    assert.equal((await program.ended).status, 1, program.text);
    assert.match(program.text, /stays\.test\.ts: its tests are done, but it does not end: .*TCPServerWrap/);
  });

  test("ends at its deadline, also when a test never lets go of the event loop", async (t) => {
    const place = await tree(t, {
      "test/unit/busy.test.ts": 'import { test } from "node:test";\ntest("spins", () => { for (;;); });\n',
    });

    const program = start(t, place, ["test/unit"], { LOVAGE_TEST_DEADLINE: "2" });

    assert.equal((await program.ended).status, 1, program.text);
    assert.match(program.stdout, /Interrupted while running[\s\S]*busy\.test\.ts/);
    assert.match(program.stdout, /^problem +not done after 2 s/m);
    assert.deepEqual(await readdir(place.tmp), []);
  });

  test("refuses a filter that chooses nothing", async (t) => {
    const place = await tree(t, { "test/unit/good.test.ts": PASSES });

    const program = start(t, place, ["test/unit", "tset/unit"]);

    assert.equal((await program.ended).status, 2);
    assert.equal(program.text, 'npm test: no test file\'s path contains "tset/unit"');
  });

  test("killed with -9, it leaves no process and no folder", async (t) => {
    const place = await tree(t, {
      "test/unit/long.test.ts": `import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
test("takes long", async () => {
  const child = spawn("sleep", ["600"], { detached: true, stdio: "ignore" });
  console.log("run", process.env.LOVAGE_TEST_RUN);
  await once(child, "exit");
});
`,
    });
    const program = start(t, place, ["test/unit"]);
    const [, run = ""] = await program.waitForLine(/^run (\S+)$/);
    assert.ok(processesOfRun(run).some(({ command }) => command === "sleep 600"));

    program.signal("SIGKILL"); // the program alone: not the runner, nor what the test started

    await program.ended; // its output is closed by the last of them
    await gone(() => processesOfRun(run).length === 0);
    await gone(async () => (await readdir(place.tmp)).length === 0);
  });
});

/** Wait for something that other processes do by themselves, and that gives no event. */
async function gone(look: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await look())) await sleep(20);
}
