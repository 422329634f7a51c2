/**
 * `npm run build`: dist/, from nothing, and a look at it. What is published is what `tsc` emits, with no bundler
 * between: a stack trace names the file and the function that a reader finds in src/.
 */
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

process.chdir(join(import.meta.dirname, ".."));
rmSync("dist", { recursive: true, force: true });
const { status } = spawnSync(join("node_modules", ".bin", "tsc"), ["-p", "tsconfig.build.json"], { stdio: "inherit" });
const problems = status === 0 ? problemsOf() : [`tsc ended with ${status}`];
for (const problem of problems) console.error(`npm run build: ${problem}`);
process.exitCode = problems.length === 0 ? 0 : 1;

function problemsOf(): string[] {
  const found: string[] = [];
  for (const target of targets()) {
    if (!existsSync(target)) found.push(`package.json names ${target}, which was not built`);
  }
  for (const source of globSync("src/**/*.ts")) {
    const built = join("dist", source.slice("src/".length).replace(/\.ts$/, ""));
    for (const file of [`${built}.js`, `${built}.d.ts`]) {
      if (!existsSync(file)) found.push(`${source} has no ${file}`);
    }
  }
  // An import that still says .ts would look for a source that is not published.
  for (const file of globSync("dist/**/*.js")) {
    const left = readFileSync(file, "utf8").match(/^(?:import|export)\b[^\n]*from "\.{1,2}\/[^"]*\.ts"/m);
    if (left) found.push(`${file} imports a source: ${left[0]}`);
  }
  return found;
}

/** The files of dist/ that `exports` names, and the command's. */
function targets(): string[] {
  const { exports } = JSON.parse(readFileSync("package.json", "utf8")) as {
    exports: Record<string, string | Record<string, string>>;
  };
  return [
    "dist/cli/main.js",
    ...Object.values(exports)
      .flatMap((entry) => (typeof entry === "string" ? [entry] : Object.values(entry)))
      .filter((target) => target.startsWith("./dist/")),
  ];
}
