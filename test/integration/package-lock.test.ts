/** The files that decide what is installed and published: the lock file, .npmrc, and package.json itself. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const ROOT = join(import.meta.dirname, "../..");
const read = (name: string): string => readFileSync(join(ROOT, name), "utf8");

interface Locked {
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
}

test("the lock file names no host, so that it installs through any mirror", () => {
  const { packages } = JSON.parse(read("package-lock.json")) as { packages: Record<string, Locked> };
  const named = Object.entries(packages).filter(([, { resolved }]) => resolved?.includes("://"));
  assert.deepEqual(named, []);
  assert.doesNotMatch(read("package-lock.json"), /"resolved":/);
  assert.match(read(".npmrc"), /^omit-lockfile-registry-resolved=true$/m);
});

test("every package in the lock file is held to its content", () => {
  const { packages } = JSON.parse(read("package-lock.json")) as { packages: Record<string, Locked> };
  const loose = Object.entries(packages).filter(
    ([path, { integrity }]) => path !== "" && !integrity?.startsWith("sha512-"),
  );
  assert.deepEqual(loose, []);
});

test("the lock file has the builds of every platform, else npm ci refuses it on all of them", () => {
  const { packages } = JSON.parse(read("package-lock.json")) as { packages: Record<string, Locked> };
  const optional = Object.values(packages).flatMap((locked) => Object.keys(locked.optionalDependencies ?? {}));
  assert.ok(optional.length > 0);
  assert.deepEqual(
    optional.filter((name) => packages[`node_modules/${name}`] === undefined),
    [],
  );
});

test("the lock file is of this package.json", () => {
  const manifest = JSON.parse(read("package.json"));
  const { packages } = JSON.parse(read("package-lock.json"));
  for (const field of ["name", "version", "dependencies", "devDependencies", "peerDependencies", "engines", "bin"]) {
    assert.deepEqual(packages[""][field], manifest[field], field);
  }
});

test("package.json publishes what it names, and its scripts run what exists", () => {
  const manifest = JSON.parse(read("package.json")) as {
    files: string[];
    scripts: Record<string, string>;
    bin: Record<string, string>;
    exports: Record<string, Record<string, string>>;
  };
  const committed = new Set(["LICENSE", "README.md", "CHANGELOG.md", "bin", "docs/**/*.md"]);
  assert.deepEqual(
    manifest.files.filter((name) => name !== "dist" && !committed.has(name)),
    [],
  );
  for (const name of committed) assert.ok(existsSync(join(ROOT, name.split("/", 1)[0] ?? "")), `${name} exists`);
  for (const path of Object.values(manifest.bin)) assert.ok(existsSync(join(ROOT, path)), `${path} exists`);
  for (const entry of Object.values(manifest.exports)) {
    const source = entry["lovage-source"];
    if (source !== undefined) assert.ok(existsSync(join(ROOT, source)), `${source} exists`);
  }
  for (const script of Object.values(manifest.scripts)) {
    for (const [file] of script.matchAll(/\S+\.(?:ts|js)\b/g))
      assert.ok(existsSync(join(ROOT, file)), `${file} exists`);
  }
});

test("nothing that was built, packed or left by a run is committed", (t) => {
  const { stdout, status } = spawnSync("git", ["-c", "safe.directory=*", "ls-files"], { cwd: ROOT, encoding: "utf8" });
  if (status !== 0) {
    t.skip("not a git checkout, or no git here");
    return;
  }
  assert.deepEqual(
    stdout
      .split("\n")
      .filter((file) => /(^|\/)(node_modules|dist|coverage)\/|\.(db|db-wal|db-shm|tgz|log)$/.test(file)),
    [],
  );
});
