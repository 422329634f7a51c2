/** Nothing that was captured lies about unread: each file under `fixtures/` is named by a test, and each is in its README. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const HERE = import.meta.dirname;
const FILES = globSync("**/*.{json,txt}", { cwd: join(HERE, "fixtures") });
const README = readFileSync(join(HERE, "fixtures/README.md"), "utf8");
const SOURCES = globSync("**/*.ts", { cwd: HERE })
  .filter((file) => !file.endsWith("fixtures.test.ts"))
  .map((file) => readFileSync(join(HERE, file), "utf8"));
/** Parts of names that tests put together: of each broker, of each kind. */
const VARIANTS = /(?<=\.|_)(?:rabbitmq|redis)(?=\.|_)|(?<=task_messages\.\w+\.)\w+/g;

test("each fixture is read by a test", () => {
  assert.ok(FILES.length > 40, String(FILES.length));
  const unread = FILES.filter((file) => {
    const pattern = file.split(VARIANTS).map(escaped).join("(?:\\w+|\\$\\{\\w+\\})");
    const name = new RegExp(`["\`/]${pattern}["\`]`);
    return !SOURCES.some((source) => name.test(source));
  });
  assert.deepEqual(unread, []);
});

test("each fixture is described", () => {
  const names = [...README.matchAll(/`([\w./{},*-]+\.(?:json|txt))`/g)].map(([, name = ""]) => patternOf(name));
  assert.deepEqual(
    FILES.filter((file) => !names.some((name) => name.test(file))),
    [],
  );
});

/** `a.{b,c}.json` and `a.*.json`. */
function patternOf(name: string): RegExp {
  const alternatives = escaped(name)
    .replace(/\\\{([^}]*)\\\}/g, (_, inner: string) => `(?:${inner.replaceAll(",", "|")})`)
    .replaceAll("\\*", "[^/]*");
  return new RegExp(`^${alternatives}$`);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
