/** Which test files run, in which order, and what they need: pure reading of test/. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, resolve, sep } from "node:path";

export interface Phase {
  readonly name: string;
  readonly files: readonly string[];
}

/** Kinds of tests that run real processes and servers: after the others, and fewer at once. */
const HEAVY = ["integration", "interop", "crash", "sim", "browser"];

/**
 * The test files that the filters choose (all without one), in two phases. A filter is a file, a folder, or any part of a path.
 *
 * @throws {Error} a filter that chooses nothing: a misspelt one must not pass
 */
export function choose(filters: readonly string[]): Phase[] {
  const all = globSync("test/**/*.test.ts").toSorted();
  const unused = filters.filter((filter) => !all.some((file) => matches(file, filter)));
  if (unused.length > 0)
    throw new Error(`no test file's path contains ${unused.map((f) => JSON.stringify(f)).join(", ")}`);
  const chosen = filters.length === 0 ? all : all.filter((file) => filters.some((filter) => matches(file, filter)));
  const isHeavy = (file: string) => HEAVY.includes(file.split(sep)[1] ?? "");
  return [
    { name: "unit and conformance", files: chosen.filter((file) => !isHeavy(file)) },
    { name: "integration and interop", files: chosen.filter(isHeavy) },
  ].filter((phase) => phase.files.length > 0);
}

function matches(file: string, filter: string): boolean {
  return file.includes(filter.replace(/^\.\//, ""));
}

/** Those of `variables` that the files name, themselves or in a test helper that they import. */
export function wanted(files: readonly string[], variables: readonly string[]): Set<string> {
  const seen = new Set<string>();
  const found = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file) || !existsSync(file)) return;
    seen.add(file);
    const text = readFileSync(file, "utf8");
    for (const variable of variables) if (text.includes(variable)) found.add(variable);
    for (const [, path = ""] of text.matchAll(/(?:from|import)\s*\(?\s*"(\.{1,2}\/[^"]+\.ts)"/g)) {
      const imported = resolve(dirname(file), path);
      if (imported.includes(`${sep}test${sep}`)) visit(imported);
    }
  };
  for (const file of files) visit(resolve(file));
  return found;
}
