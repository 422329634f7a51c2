import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "../../../src/app/config.ts";
import { childEnv, childExecArgv, SECRET_VARIABLES } from "../../../src/pool/prefork/child-env.ts";

test("what opens broker and stores stays with the worker; everything else is passed on", () => {
  const parent: Record<string, string> = {
    PATH: "/bin",
    API_KEY: "k",
    NODE_TEST_CONTEXT: "child-v8",
    LOVAGE_TIMEZONE: "UTC",
  };
  for (const name of SECRET_VARIABLES) parent[name] = "secret";
  assert.deepEqual(childEnv(parent), { PATH: "/bin", API_KEY: "k", LOVAGE_TIMEZONE: "UTC" });
  assert.equal(parent.LOVAGE_BROKER_URL, "secret", "the parent's own is left alone");
});

test("every variable that the configuration reads a URL, a password or a key from is among them", () => {
  const marked = new Proxy({} as Record<string, string>, {
    get: (_, name) => {
      asked.add(String(name));
      return undefined;
    },
  });
  const asked = new Set<string>();
  readConfig({}, marked);
  const secret = /_(BROKER|BACKEND|SCHEDULE)(_URL)?$|_URL$|PASSWORD|USE_SSL$|TRANSPORT_OPTIONS$/;
  const urls = [...asked].filter((name) => secret.test(name));
  assert.ok(urls.length >= 14, [...asked].join(" "));
  assert.deepEqual(
    urls.filter((name) => !SECRET_VARIABLES.includes(name)),
    [],
  );
});

test("Node's flags are passed on but for those of the parent's own start", () => {
  assert.deepEqual(
    childExecArgv([
      "--conditions=lovage-source",
      "--inspect=9229",
      "--inspect-brk",
      "--max-old-space-size=512",
      "--import",
      "./hooks.mjs",
      "--test",
      "--test-concurrency=2",
      "--watch",
      "--input-type=module",
      "-e",
      "console.log('--import')",
      "--enable-source-maps",
    ]),
    ["--conditions=lovage-source", "--max-old-space-size=512", "--import", "./hooks.mjs", "--enable-source-maps"],
  );
});
