/** The door of the installed command: what it says to whoever has too old a Node, or a checkout that is not built. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { type TestContext, test } from "node:test";
import { Program } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";

const BIN = join(import.meta.dirname, "../../bin/lovage.js");
const START = join(import.meta.dirname, "../../scripts/start.js");

const old = findOldNode();
const skip = old === undefined && "no Node older than 22.18 on PATH (LOVAGE_TEST_OLD_NODE names one)";

/** A Node on PATH that is too old for Lovage, and new enough to read an ES module. */
function findOldNode(): { path: string; version: string } | undefined {
  const paths = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, "node"));
  for (const path of [process.env.LOVAGE_TEST_OLD_NODE ?? "", ...paths]) {
    if (path === "") continue;
    try {
      const version = execFileSync(path, ["--version"], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }).trim();
      const [major = 0, minor = 0] = version.slice(1).split(".").map(Number);
      if (major >= 16 && (major < 22 || (major === 22 && minor < 18))) return { path, version };
    } catch {
      // No Node there.
    }
  }
  return undefined;
}

/** The command as it lies in a package, with the given dist/cli/main.js or none. */
async function command(t: TestContext, main?: string): Promise<string> {
  const folder = await tempDir(t);
  await mkdir(join(folder, "bin"));
  await mkdir(join(folder, "dist/cli"), { recursive: true });
  await writeFile(join(folder, "package.json"), '{"type": "module"}');
  await copyFile(BIN, join(folder, "bin/lovage.js"));
  if (main !== undefined) await writeFile(join(folder, "dist/cli/main.js"), main);
  return join(folder, "bin/lovage.js");
}

async function run(t: TestContext, node: string, args: string[]) {
  const program = new Program(t, node, { args });
  return { ...(await program.ended), stdout: program.stdout, stderr: program.stderr };
}

test("an old Node is told so in one line, built or not", { skip }, async (t) => {
  assert.ok(old);
  const line = `lovage needs Node.js 22.18 or newer; this is ${old.version} (`;
  for (const main of [undefined, "console.log('must not run')"]) {
    const { status, stdout, stderr } = await run(t, old.path, [await command(t, main), "worker"]);
    assert.equal(status, 1);
    assert.equal(stdout, "");
    assert.ok(stderr.startsWith(line), stderr);
    assert.ok(stderr.endsWith("Install a newer Node, or put one first on PATH."), stderr);
    assert.equal(stderr.split("\n").length, 1);
  }
});

test("a checkout that is not built is told what to run, in one line", async (t) => {
  const { status, stdout, stderr } = await run(t, process.execPath, [await command(t), "worker"]);
  assert.deepEqual([status, stdout], [1, ""]);
  assert.match(stderr, /^lovage is not built here: .*npm run build.*npm run lovage -- .*$/);
});

test("the built program gets the arguments as they are, and its exit status stands", async (t) => {
  const bin = await command(t, "console.log(JSON.stringify(process.argv.slice(2))); process.exitCode = 2;");
  const { status, stdout, stderr } = await run(t, process.execPath, [bin, "-A", "tasks.ts", "ü", ""]);
  assert.deepEqual({ status, stdout, stderr }, { status: 2, stdout: '["-A","tasks.ts","ü",""]', stderr: "" });
});

test("a contributor with an old Node is told so in one line by every npm run", { skip }, async (t) => {
  assert.ok(old);
  const { status, stdout, stderr } = await run(t, old.path, [START, "scripts/test.ts"]);
  assert.deepEqual([status, stdout], [1, ""]);
  assert.match(stderr, /^lovage is developed on Node\.js 22\.18 or newer; this is v[\d.]+ \(.+\)\. Run "npm ci" .*$/);
});
