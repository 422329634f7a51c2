/** Holds the documentation to the code: error codes both ways, and links that lead somewhere. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const families: Readonly<Record<string, string>> = {
  ContractError: "contract",
  UnavailableError: "unavailable",
  LostError: "lost",
};
/** Codes of Node's own errors, which we compare with and never throw. */
const nodeCodes = new Set(["ERR_MODULE_NOT_FOUND", "ERR_BUFFER_TOO_LARGE", "ERR_IPC_CHANNEL_CLOSED"]);

function files(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

/** Without the suites that are shipped for testing: what they throw, they throw at themselves. */
const sources = files("src", ".ts").filter((file) => !file.startsWith(join("src", "testing")));

interface ErrorClass {
  readonly name: string;
  readonly parent: string;
  readonly codes: readonly string[];
  readonly file: string;
}

/** Each class that extends another, with the code that it declares, or the codes of the type that it declares it by. */
function readClasses(): ErrorClass[] {
  return sources.flatMap((file) => {
    const text = readFileSync(join(root, file), "utf8");
    return [...text.matchAll(/class (\w+)(?:<[^{]*?>)? extends (\w+)[^{]*\{([\s\S]*?)\n\}/g)].map(
      ([, name = "", parent = "", body = ""]) => {
        const own = /\bcode(?:: string)? = "(ERR_\w+)"/.exec(body)?.[1];
        const typeName = /\breadonly code: (\w+);/.exec(body)?.[1];
        const union = typeName === undefined ? undefined : new RegExp(`type ${typeName} =([^;]*);`).exec(text)?.[1];
        const codes = own === undefined ? (union?.match(/ERR_\w+/g) ?? []) : [own];
        return { name, parent, codes, file };
      },
    );
  });
}

const classes = readClasses();

function familyOf({ name, parent }: Pick<ErrorClass, "name" | "parent">): string | undefined {
  const own = families[name] ?? families[parent];
  if (own !== undefined) return own;
  const above = classes.find((each) => each.name === parent);
  return above === undefined ? undefined : familyOf(above);
}

interface Row {
  readonly code: string;
  readonly family: string;
  readonly cells: readonly string[];
}

const rows: Row[] = readFileSync(join(root, "docs/errors.md"), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| ERR_"))
  .map((line) => {
    const cells = line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim());
    return { code: cells[0] ?? "", family: cells[1] ?? "", cells };
  });

describe("docs/errors.md", () => {
  test("has a whole row for each code, once, in order", () => {
    const codes = rows.map((row) => row.code);
    assert.deepEqual(codes, [...new Set(codes)].sort());
    const broken = rows.filter(({ cells }) => cells.length !== 4 || cells.some((cell) => cell === ""));
    assert.deepEqual(
      broken.map((row) => row.code),
      [],
    );
  });

  test("has a row, with its family, for each error class of the code", () => {
    const wrong = classes.flatMap((each) =>
      each.codes.flatMap((code) => {
        const row = rows.find((one) => one.code === code);
        const family = familyOf(each);
        const where = `${code} of ${each.name} (${each.file})`;
        if (family === undefined) return [`${where} is of no family`];
        if (row === undefined) return [`${where} has no row`];
        return row.family === family ? [] : [`${where} is ${family}, its row says ${row.family}`];
      }),
    );
    assert.ok(classes.length > 20);
    assert.deepEqual(wrong, []);
  });

  test("has a row for each code that the code names in any other way", () => {
    const known = new Set([...rows.map((row) => row.code), ...nodeCodes]);
    const unknown = sources.flatMap((file) =>
      [...readFileSync(join(root, file), "utf8").matchAll(/["'`](ERR_[A-Z0-9_]+)["'`]/g)]
        .map(([, code = ""]) => code)
        .filter((code) => !known.has(code))
        .map((code) => `${code} in ${file}`),
    );
    assert.deepEqual(unknown, []);
  });

  test("has no row for a code that nothing throws", () => {
    // A refusal is not always thrown: `code: "ERR_…"` makes one too.
    const made = sources.flatMap((file) => [
      ...readFileSync(join(root, file), "utf8").matchAll(/\bcode: "(ERR_\w+)"/g),
    ]);
    const thrown = new Set([...classes.flatMap((each) => each.codes), ...made.map(([, code = ""]) => code)]);
    assert.deepEqual(
      rows.map((row) => row.code).filter((code) => !thrown.has(code)),
      [],
    );
  });

  test("no two classes have one code, unless one extends the other", () => {
    const twice = classes.filter(({ name, parent, codes }) =>
      classes.some(
        (other) =>
          other.name !== name &&
          other.codes.some((code) => codes.includes(code)) &&
          other.parent !== name &&
          other.name !== parent,
      ),
    );
    assert.deepEqual(
      twice.map((each) => `${each.name}: ${each.codes.join(", ")}`),
      [],
    );
  });
});

describe("the pages", () => {
  const pages = [
    ...readdirSync(root).filter((name) => name.endsWith(".md")),
    ...files("docs", ".md"),
    ...files("examples", ".md"),
  ];
  const linksOf = (page: string) =>
    [
      ...readFileSync(join(root, page), "utf8")
        .replace(/```[\s\S]*?```|`[^`\n]*`/g, "")
        .matchAll(/\]\(([^)\s]+)\)/g),
    ].map(([, link = ""]) => link);

  test("link to files and headings that exist", () => {
    const broken = pages.flatMap((page) =>
      linksOf(page)
        .filter((link) => !/^[a-z][a-z0-9+.-]*:/i.test(link))
        .filter((link) => {
          const [path = "", anchor] = link.split("#");
          const target = path === "" ? join(root, page) : join(root, dirname(page), decodeURIComponent(path));
          if (!existsSync(target)) return true;
          return anchor !== undefined && !headings(target).includes(anchor);
        })
        .map((link) => `${page}: ${link}`),
    );
    assert.deepEqual(broken, []);
  });

  test("of the decisions are all in their index", () => {
    const index = readFileSync(join(root, "docs/decisions/README.md"), "utf8");
    const missing = files("docs/decisions", ".md")
      .map((file) => file.slice("docs/decisions/".length))
      .filter((name) => name !== "README.md" && !index.includes(`(${name})`));
    assert.deepEqual(missing, []);
  });

  test("name no source file that does not exist", () => {
    const wrong = files("docs", ".md").flatMap((page) =>
      [...readFileSync(join(root, page), "utf8").matchAll(/`((?:src|test|bench|scripts|examples)\/[\w./-]+)`/g)]
        .map(([, path = ""]) => path)
        .filter((path) => !existsSync(join(root, path)))
        .map((path) => `${page}: ${path}`),
    );
    assert.deepEqual(wrong, []);
  });
});

/** Anchors as GitHub makes them. */
function headings(file: string): string[] {
  if (!file.endsWith(".md")) return [];
  return [...readFileSync(file, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, text = ""]) =>
    text
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .trim()
      .replace(/\s/g, "-"),
  );
}
