/** The package as it would be published: built, packed, installed in a project of its own, and used there. */
import assert from "node:assert/strict";
import { access, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { skipOrFail } from "../support/needed.ts";
import { Program, type ProgramOptions } from "../support/processes.ts";
import { install, pack } from "../support/tarball.ts";
import { tempDir } from "../support/temp.ts";

const ROOT = join(import.meta.dirname, "../..");

describe("the package", () => {
  test("is built, holds what it should and nothing else, and works where it is installed", async (t) => {
    const folder = await tempDir(t);
    const { tarball, files } = await pack(t, folder);

    await t.test("holds the built program with its types, and no source, test or fixture", () => {
      const odd = files.filter(
        (file) =>
          !/^(dist\/.+\.(js|d\.ts)|bin\/lovage\.js|docs\/.+\.md|README\.md|CHANGELOG\.md|LICENSE|package\.json)$/.test(
            file,
          ),
      );
      assert.deepEqual(odd, []);
      for (const file of ["README.md", "CHANGELOG.md", "LICENSE", "bin/lovage.js", "dist/cli/main.js"]) {
        assert.ok(files.includes(file), `${file} is in the package`);
      }
      const untyped = files.filter((file) => file.endsWith(".js") && file.startsWith("dist/"));
      for (const file of untyped) assert.ok(files.includes(file.replace(/\.js$/, ".d.ts")), `${file} has its types`);
    });

    const project = join(folder, "project");
    const unreachable = await install(t, project, tarball);
    const { skip } = unreachable === undefined ? { skip: false as const } : skipOrFail(unreachable);

    await t.test("resolves each of its exports, without the optional peer", { skip }, async (t) => {
      await assert.rejects(access(join(project, "node_modules/amqplib")), "the peer is not installed");
      const { exports } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as { exports: object };
      for (const entry of Object.keys(exports)) {
        const name = `lovage${entry.slice(1)}`;
        const options = entry.endsWith(".json") ? ', { with: { type: "json" } }' : "";
        const code = `const m = await import(${JSON.stringify(name)}${options}); console.log(Object.keys(m).length)`;
        const program = await succeed(t, process.execPath, { args: ["--input-type=module", "-e", code], cwd: project });
        assert.ok(Number(program.stdout) > 0, `${name} exports something`);
      }
    });

    await t.test(
      "has types that a user's strict compiler takes, and that refuse what is wrong",
      { skip },
      async (t) => {
        await symlink(join(ROOT, "node_modules/@types"), join(project, "node_modules/@types"));
        await writeFile(
          join(project, "user.ts"),
          `import { Lovage } from "lovage";
import { Worker } from "lovage/worker";
import * as testing from "lovage/testing";
const app: Lovage = new Lovage("user");
// @ts-expect-error the name is text
new Lovage(1);
export { app, Worker, testing };
`,
        );
        await writeFile(
          join(project, "tsconfig.json"),
          JSON.stringify({
            compilerOptions: { module: "nodenext", target: "es2023", strict: true, noEmit: true, types: ["node"] },
            files: ["user.ts"],
          }),
        );
        await succeed(t, join(ROOT, "node_modules/.bin/tsc"), { args: ["-p", "tsconfig.json"], cwd: project });
      },
    );

    await t.test("brings the command", { skip }, async (t) => {
      const command = join(project, "node_modules/.bin/lovage");
      const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as { version: string };
      assert.equal((await succeed(t, command, { args: ["--version"], cwd: project })).stdout, version);
      assert.match((await succeed(t, command, { args: ["--help"], cwd: project })).stdout, /worker/);
    });

    await t.test(
      "names the package to install, in one line, where an optional peer is asked for",
      { skip },
      async (t) => {
        const command = join(project, "node_modules/.bin/lovage");
        await writeFile(
          join(project, "peers.js"),
          'import { Lovage } from "lovage";\nexport const app = new Lovage("p");\n',
        );
        const rule = "DTSTART:20270101T090000Z\nRRULE:FREQ=DAILY";
        for (const [peer, args] of [
          ["ioredis", ["--schedule", "redis://127.0.0.1/0", "schedule", "list"]],
          ["ioredis", ["-A", "peers.js", "--schedule", "redis+sentinel://127.0.0.1/m/0", "worker"]],
          ["pg", ["--schedule", "postgres://u:s3cret@127.0.0.1/d", "schedule", "list"]],
          ["rrule-temporal", ["schedule", "preview", "--rrule", rule]],
          ["amqplib", ["-b", "amqp://127.0.0.1", "call", "x"]],
        ] as const) {
          const program = new Program(t, command, { args, cwd: project });
          const { status } = await program.ended;
          assert.match(program.stderr, new RegExp(`^lovage: .* needs the package ${peer}: run "npm install ${peer}"$`));
          assert.deepEqual([status, program.stdout], [1, ""]);
        }
        const code = `import { Lovage } from "lovage";
import { rrule } from "lovage/rrule";
const app = new Lovage("p");
const says = (error) => error.code;
console.log(await app.schedule.callRepeatedly(rrule(${JSON.stringify(rule)}), app.signature("x"), { key: "r" }).catch(says));
for await (const each of app.schedule.recurrences()) console.log(each.id);
await app.close();`;
        const program = await succeed(t, process.execPath, { args: ["--input-type=module", "-e", code], cwd: project });
        assert.equal(program.stdout, "ERR_MISSING_PEER", "and nothing is kept");
      },
    );

    await t.test("runs a task in a child process of an installed worker", { skip }, async (t) => {
      const command = join(project, "node_modules/.bin/lovage");
      const env = { LOVAGE_BROKER_URL: `sqlite:${join(project, "lovage.db")}` };
      await writeFile(
        join(project, "app.js"),
        `import { Lovage } from "lovage";
export const app = new Lovage("user", { backend: process.env.LOVAGE_BROKER_URL });
export const add = app.task("user.add", async (a, b) => ({ sum: a + b, pid: process.pid }));
`,
      );
      const run = { cwd: project, env };
      const args = ["-A", "app.js", "worker", "-l", "debug", "-c", "1"];
      const worker = new Program(t, command, { ...run, args });

      const sent = await succeed(t, command, { ...run, args: ["-A", "app.js", "call", "user.add", "-a", "[40, 2]"] });
      const asked = ["-A", "app.js", "result", sent.stdout, "--wait", "60s"];
      const answer = await succeed(t, command, { ...run, args: asked }).catch((error: Error) => {
        throw new Error(`${error.message}\nThe worker wrote:\n${worker.text}`);
      });
      const { sum, pid } = JSON.parse(answer.stdout);

      assert.equal(sum, 42);
      assert.notEqual(pid, worker.pid);
      assert.deepEqual(await worker.stop(), { status: 0, signal: null });
    });
  });
});

/** Run a program that must end with status 0. */
async function succeed(t: TestContext, command: string, options: ProgramOptions): Promise<Program> {
  const program = new Program(t, command, options);
  const { status, signal } = await program.ended;
  assert.equal(status, 0, `${command} ${options.args?.join(" ")} ended with ${signal ?? status}:\n${program.text}`);
  return program;
}
