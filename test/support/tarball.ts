/** The package as it would be published, and a project that has installed it: for the tests of the package. */
import { cp, mkdir, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { Program } from "./processes.ts";

const ROOT = join(import.meta.dirname, "../..");
/** Never part of a copy: built, fetched or the owner's. */
const NOT_COPIED = new Set(["node_modules", "dist", ".git", "coverage"]);

export interface Packed {
  readonly tarball: string;
  readonly files: readonly string[];
}

/** `npm pack` in a copy of the tree: the build that goes before it must not touch the dist/ of whoever works here. */
export async function pack(t: TestContext, folder: string): Promise<Packed> {
  const copy = join(folder, "tree");
  await mkdir(copy);
  for (const name of await readdir(ROOT)) {
    if (!NOT_COPIED.has(name)) await cp(join(ROOT, name), join(copy, name), { recursive: true });
  }
  await symlink(join(ROOT, "node_modules"), join(copy, "node_modules"));
  const { stdout } = await npm(t, ["pack", "--json", "--pack-destination", folder], copy);
  // Before it, npm prints what the build printed.
  const json = stdout.slice(stdout.search(/^[[{]$/m));
  const answer = JSON.parse(json) as unknown;
  const [packed] = (Array.isArray(answer) ? answer : Object.values(answer as object)) as {
    filename: string;
    files: { path: string }[];
  }[];
  if (packed === undefined) throw new Error(`npm pack said nothing of a package: ${stdout}`);
  await rm(copy, { recursive: true });
  return { tarball: join(folder, packed.filename), files: packed.files.map((file) => file.path).toSorted() };
}

/** A project with the tarball installed, and what installing said when that needed a registry that was not reached. */
export async function install(t: TestContext, folder: string, tarball: string): Promise<string | undefined> {
  await mkdir(folder);
  await writeFile(join(folder, "package.json"), JSON.stringify({ name: "user", private: true, type: "module" }));
  try {
    await npm(t, ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball], folder);
    return undefined;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const unreachable = /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED)\b/.exec(text);
    if (unreachable === null) throw error;
    return `npm reaches no registry (${unreachable[0]}), and its cache lacks the dependencies`;
  }
}

/** @throws {Error} with all that npm said, when it ended with another status than 0 */
export async function npm(t: TestContext, args: readonly string[], cwd: string): Promise<{ readonly stdout: string }> {
  // What the npm that runs these tests tells its scripts is not for this one; the user's own configuration is.
  const env: Record<string, undefined | string> = {
    npm_config_update_notifier: "false",
    NODE_DISABLE_COMPILE_CACHE: "1", // else npm leaves one in the temporary folder
  };
  for (const name of Object.keys(process.env)) {
    if (/^npm_(package|lifecycle|config_(local|global)_prefix|command|execpath|node_execpath)/.test(name)) {
      env[name] = undefined;
    }
  }
  const program = new Program(t, "npm", { args, cwd, env });
  const { status, signal } = await program.ended;
  if (status !== 0) throw new Error(`npm ${args.join(" ")} ended with ${signal ?? status}:\n${program.text}`);
  return { stdout: program.stdout };
}
