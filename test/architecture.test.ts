/**
 * Holds the sources to docs/internals.md: who may import whom, how large a file may be, what no file may do. It reads every
 * import statement as text; `import type` is free for a back-reference.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const src = join(root, "src");

/** From the ground up. A module imports modules of rows before its own, never of its own row. */
const rows: readonly (readonly string[])[] = [
  ["kit"],
  ["protocol"],
  ["hub", "blueprint", "sqlite", "redis"],
  ["brokers", "results", "schedule/store", "pool/pool", "quarantine"],
  ["schedule/scheduler", "pool", "events", "control"],
  ["app", "beat"],
  ["worker", "child"],
  ["cli", "http"],
  ["index"],
  ["testing"],
];
const contracts = new Set(rows[3]);
/** First word of a backend's file or folder. */
const backendNames = new Set(["memory", "sqlite", "rabbitmq", "redis", "postgres", "rpc"]);
/** Packages, and the only places that know them. */
const packages: Readonly<Record<string, readonly string[]>> = {
  pino: ["kit/log.ts"],
  amqplib: ["brokers/rabbitmq/"],
  ioredis: ["redis/", "brokers/redis/", "results/redis/", "schedule/stores/redis/"],
  "js-yaml": ["protocol/content/yaml.ts", "protocol/content/yaml-schema.ts"],
  pg: ["schedule/stores/postgres/"],
  commander: ["cli/"],
  croner: ["schedule/recurrence/cron-pattern.ts"],
  "rrule-temporal": ["schedule/recurrence/rrule.ts"],
};
const MAX_LINES = 400;
/** A conformance suite tells one contract in full. */
const MAX_SUITE_LINES = 700;

interface Import {
  readonly specifier: string;
  /** Path below src with slashes, for our own files. */
  readonly target: string | undefined;
  readonly kind: "value" | "type" | "dynamic";
}

interface Source {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
}

/** A statement begins its line; its names may go on over several. */
const STATEMENT =
  /^[ \t]*(import|export)[ \t]+(?:(type)\b(?![ \t]*(?:,|from\b)))?([^"';]*?)(?:from[ \t\r\n]*)?"([^"\n]+)"/gm;
const DYNAMIC = /^(?![ \t]*(?:\*|\/\/)).*?\b(?<!type\s)import\([ \t\r\n]*"([^"\n]+)"/gm;

export function readImports(path: string, text: string): Import[] {
  const found: Import[] = [];
  const add = (kind: Import["kind"], specifier: string) => {
    const target = specifier.startsWith(".")
      ? relative(src, resolve(src, dirname(path), specifier))
          .split(sep)
          .join("/")
      : undefined;
    found.push({ specifier, target, kind });
  };
  for (const [, verb, type, names = "", specifier = ""] of text.matchAll(STATEMENT)) {
    // `export const text = "…"` and the like have no names to export from somewhere.
    if (verb === "export" && !/^\s*(?:\*|\{)/.test(names)) continue;
    add(type === "type" ? "type" : "value", specifier);
  }
  for (const [, specifier = ""] of text.matchAll(DYNAMIC)) add("dynamic", specifier);
  return found;
}

function readSources(folder = src): Source[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.[cm]?[tj]s$/.test(entry.name))
    .map((entry) => {
      const file = join(entry.parentPath, entry.name);
      const path = relative(src, file).split(sep).join("/");
      const text = readFileSync(file, "utf8");
      return { path, text, imports: readImports(path, text) };
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The module that a file belongs to: the name it has in `rows`. */
function moduleOf(path: string): string {
  const [top = "", second = ""] = path.split("/");
  if (top === "index.ts" || top === "rrule.ts") return "index";
  if (top === "schedule") return second.startsWith("scheduler") ? "schedule/scheduler" : "schedule/store";
  if (top === "pool") return second === "pool.ts" || second === "asks.ts" ? "pool/pool" : "pool";
  return top;
}

function rowOf(module: string): number {
  return rows.findIndex((row) => row.includes(module));
}

/** For a backend's file: which backend it is. The contract and what backends share have none. */
function backendOf(path: string): string | undefined {
  if (!contracts.has(moduleOf(path))) return undefined;
  const parts = path.replace(/^schedule\/stores\//, "schedule/").split("/");
  const word = /^[a-z]+/.exec(parts[1] ?? "")?.[0] ?? "";
  return backendNames.has(word) ? word : undefined;
}

/** What is wrong with `path` importing `target`, or nothing. */
export function wrongImport(path: string, target: string): string | undefined {
  const [from, to] = [moduleOf(path), moduleOf(target)];
  if (from === "testing") return undefined;
  const backend = backendOf(path);
  const otherBackend = backendOf(target);
  if (from === to) {
    // Backends stand beside their contract, each alone.
    return otherBackend === undefined || otherBackend === backend
      ? undefined
      : `the ${otherBackend} backend stands alone`;
  }
  if (rowOf(from) < 0 || rowOf(to) < 0) return `${rowOf(from) < 0 ? from : to} has no row in the table`;
  if (rowOf(to) >= rowOf(from)) return `${from} must not import ${to}`;
  if (contracts.has(from)) {
    if (to === "kit" || to === "protocol" || (to === backend && ["sqlite", "redis"].includes(to))) return undefined;
    return `a contract or backend must not import ${to}`;
  }
  if (otherBackend !== undefined && path !== "app/open.ts") return `only app/open.ts names the ${otherBackend} backend`;
  return undefined;
}

/** What a program that begins at `entry` loads: value imports, without those that are loaded on use. */
function loadedBy(entry: string, sources: ReadonlyMap<string, Source>): Set<string> {
  const loaded = new Set<string>();
  const visit = (path: string) => {
    const source = sources.get(path);
    if (source === undefined || loaded.has(path)) return;
    loaded.add(path);
    for (const { kind, target } of source.imports) if (kind === "value" && target !== undefined) visit(target);
  };
  visit(entry);
  return loaded;
}

function firstCycle(sources: ReadonlyMap<string, Source>): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (at: string): string[] | undefined => {
    if (path.includes(at)) return [...path.slice(path.indexOf(at)), at];
    if (done.has(at)) return undefined;
    done.add(at);
    path.push(at);
    for (const { kind, target } of sources.get(at)?.imports ?? []) {
      const cycle = kind === "value" && target !== undefined ? visit(target) : undefined;
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    return undefined;
  };
  for (const each of sources.keys()) {
    const cycle = visit(each);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

const all = readSources();
const sources = new Map(all.map((source) => [source.path, source]));

function problems(of: (source: Source) => Iterable<string | undefined>): string[] {
  return all.flatMap((source) =>
    [...of(source)].filter((each) => each !== undefined).map((each) => `${source.path}: ${each}`),
  );
}

describe("the sources", () => {
  test("are there, and every module has its row", () => {
    assert.ok(all.length > 50);
    assert.deepEqual(
      [...new Set(all.map((each) => moduleOf(each.path)))].filter((each) => rowOf(each) < 0),
      [],
    );
  });

  test("import down only, and backends nothing but their contract, kit, protocol and their own", () => {
    assert.deepEqual(
      problems(({ path, imports }) =>
        imports.map(({ kind, target }) => {
          const wrong = kind === "type" || target === undefined ? undefined : wrongImport(path, target);
          return wrong === undefined ? undefined : `imports ${target}: ${wrong}`;
        }),
      ),
      [],
    );
  });

  test("import files that exist, by their full name, and packages only where they belong", () => {
    assert.deepEqual(
      problems(({ path, imports }) =>
        imports.map(({ specifier, target, kind }) => {
          if (target !== undefined) return existsSync(join(src, target)) ? undefined : `there is no ${specifier}`;
          if (specifier.startsWith("node:") || path.startsWith("testing/")) return undefined;
          const homes = packages[specifier] ?? [];
          if (homes.some((home) => path === home || (home.endsWith("/") && path.startsWith(home)))) return undefined;
          return kind === "type" && homes.length > 0 ? undefined : `the package ${specifier} has no place here`;
        }),
      ),
      [],
    );
  });

  test("have no circle of imports", () => {
    assert.equal(firstCycle(sources)?.join(" -> "), undefined);
  });

  test(`are files of at most ${MAX_LINES} lines`, () => {
    assert.deepEqual(
      problems(({ path, text }) => {
        const lines = text.split("\n").length - 1;
        const most = path.endsWith("-conformance.ts") ? MAX_SUITE_LINES : MAX_LINES;
        return [lines > most ? `${lines} lines` : undefined];
      }),
      [],
    );
  });

  test("open with a comment that says what they are", () => {
    assert.deepEqual(
      problems(({ text }) => [/^(?:#![^\n]*\n)?\/\*\*/.test(text) ? undefined : "does not open with a doc comment"]),
      [],
    );
  });

  test("have no default export, no way round the compiler, and no time but a clock's", () => {
    const forbidden: [RegExp, string][] = [
      [/^export default\b/m, "a default export"],
      [/\bas any\b|<any>|:\s*any\b/, "any"],
      [/@ts-(?:ignore|nocheck|expect-error)/, "a way round the compiler"],
      [/lint\/suspicious\/noExplicitAny/, "a way round the linter's rule against any"],
      [/^\s*(?:export\s+)?(?:(?:const\s+)?enum|namespace)\s/m, "an enum or a namespace, which Node cannot strip"],
    ];
    const clocks = /\bDate\.now\(|\bperformance\.now\(|\bnew Date\(\)|(?<![.\w])set(?:Timeout|Interval)\(/;
    // The one place for `any`: an alias that ranges over functions of any parameters, with the reason beside it.
    const aliases =
      /^\/\/ biome-ignore lint\/suspicious\/noExplicitAny: [^\n]{10,}\n(?:export )?type [^\n]*\bany\b[^\n]*;$/gm;
    const comments = /\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm;
    assert.deepEqual(
      problems(({ path, text }) => {
        const code = text
          .replace(aliases, "")
          .replace(comments, (comment) => comment.match(/@ts-\w+|lint\/\S+/g)?.join(" ") ?? "");
        const found = forbidden.map(([pattern, what]) => (pattern.test(code) ? what : undefined));
        const ownTime = path !== "kit/clock.ts" && clocks.test(code) ? "its own time: use a Clock" : undefined;
        return [...found, ownTime];
      }),
      [],
    );
  });
});

describe("what a program loads", () => {
  const modules = (entry: string) => [...loadedBy(entry, sources)].map((path) => [path, moduleOf(path)] as const);

  test("is nothing of the worker, and no backend before its URL is known, for a client", () => {
    const wrong = modules("index.ts").filter(
      ([path, module]) =>
        ["worker", "child", "hub", "cli", "testing", "sqlite"].includes(module) || backendOf(path) !== undefined,
    );
    assert.deepEqual(wrong, []);
  });

  test("is no broker, no store and no hub, for a child of the pool", () => {
    const children = all.filter(({ path }) => path.startsWith("child/"));
    const wrong = children.flatMap(({ path }) =>
      modules(path).filter(
        ([each, module]) => ["worker", "hub", "cli", "testing", "sqlite"].includes(module) || backendOf(each),
      ),
    );
    assert.deepEqual(wrong, []);
  });
});

describe("this test", () => {
  test("reads every form of import", () => {
    const text = [
      'import "./a.ts";',
      'import { b } from "./b.ts";',
      'import type { c } from "./c.ts";',
      'import { type d } from "../kit/d.ts"; // loads it all the same',
      "import {\n  e,\n  type f,\n} from './not-our-quotes';",
      'import {\n  e,\n  type f,\n} from "./e.ts";',
      'import * as g from "node:fs";',
      'import h from "./h.ts";',
      'export * from "./i.ts";',
      'export type { j } from "./j.ts";',
      'export { k } from "./k.ts";',
      'export const text = "./no.ts";',
      'export type Name = "no" | "none";',
      'const l = await import("./l.ts");',
      ' * import("./no.ts") in a comment',
      '// import("./no.ts")',
      'import type m from "./m.ts";',
    ].join("\n");
    assert.deepEqual(
      readImports("app/x.ts", text).map(({ kind, specifier, target }) => `${kind} ${target ?? specifier}`),
      [
        "value app/a.ts",
        "value app/b.ts",
        "type app/c.ts",
        "value kit/d.ts",
        "value app/e.ts",
        "value node:fs",
        "value app/h.ts",
        "value app/i.ts",
        "type app/j.ts",
        "value app/k.ts",
        "type app/m.ts",
        "dynamic app/l.ts",
      ],
    );
  });

  test("tells right imports from wrong ones", () => {
    const right = [
      ["app/app.ts", "kit/log.ts"],
      ["hub/hub.ts", "hub/heap.ts"],
      ["worker/worker.ts", "pool/prefork/prefork.ts"],
      ["schedule/scheduler.ts", "schedule/store.ts"],
      ["schedule/scheduler.ts", "hub/hub.ts"],
      ["schedule/stores/sqlite.ts", "sqlite/file.ts"],
      ["schedule/stores/memory.ts", "schedule/errors.ts"],
      ["brokers/memory.ts", "brokers/memory-queue.ts"],
      ["brokers/rabbitmq/line.ts", "brokers/errors.ts"],
      ["app/open.ts", "brokers/sqlite.ts"],
      ["testing/app.ts", "brokers/memory.ts"],
      ["cli/main.ts", "worker/index.ts"],
    ];
    const wrong = [
      ["kit/log.ts", "protocol/json.ts"],
      ["hub/hub.ts", "blueprint/step.ts"],
      ["blueprint/step.ts", "hub/timer.ts"],
      ["protocol/json.ts", "brokers/broker.ts"],
      ["brokers/memory.ts", "brokers/sqlite.ts"],
      ["brokers/check.ts", "brokers/memory.ts"],
      ["brokers/memory.ts", "hub/hub.ts"],
      ["brokers/memory.ts", "sqlite/file.ts"],
      ["brokers/rabbitmq/line.ts", "sqlite/file.ts"],
      ["results/sqlite.ts", "schedule/store.ts"],
      ["schedule/stores/sqlite.ts", "schedule/scheduler.ts"],
      ["schedule/scheduler.ts", "pool/prefork/prefork.ts"],
      ["schedule/scheduler.ts", "schedule/stores/memory.ts"],
      ["worker/worker.ts", "brokers/memory.ts"],
      ["app/app.ts", "brokers/memory.ts"],
      ["app/app.ts", "worker/worker.ts"],
      ["worker/worker.ts", "child/main.ts"],
      ["cli/main.ts", "http/server.ts"],
      ["app/app.ts", "testing/fake-clock.ts"],
      ["somewhere/new.ts", "kit/log.ts"],
    ];
    for (const [from = "", to = ""] of right) assert.equal(wrongImport(from, to), undefined, `${from} -> ${to}`);
    for (const [from = "", to = ""] of wrong) assert.notEqual(wrongImport(from, to), undefined, `${from} -> ${to}`);
  });
});
