/** Bodies that are not JSON, asked of those who define them: PyYAML, msgpack-python and Celery's own signing serializer. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import { readCertificate, readCertStore, readKey } from "../../src/app/security.ts";
import { authFormat } from "../../src/protocol/content/auth.ts";
import type { ContentFormat } from "../../src/protocol/content/format.ts";
import { MSGPACK_FORMAT } from "../../src/protocol/content/msgpack.ts";
import { loadYaml } from "../../src/protocol/content/yaml.ts";
import { ACCEPT_JSON } from "../../src/protocol/content.ts";
import { decodeJson, encodeJson } from "../../src/protocol/json.ts";
import { DEFAULT_LIMITS } from "../../src/protocol/limits.ts";
import { needCelery, runPython } from "../support/python.ts";

const HANG = { timeout: 120_000, skip: (await needCelery()).skip };
const FIXTURES = join(import.meta.dirname, "../fixtures/auth");

/** Texts that some reader takes for something else, or that a writer must escape. */
const ODD = [
  "y",
  "N",
  "on",
  "~",
  "",
  "=",
  "<<",
  "1e5",
  "1_0",
  "0o7",
  "012",
  "1:30",
  ".5",
  "+.5",
  "1.",
  "0x1F",
  "2026-11-26",
  "- a",
  "a: b",
  "a #b",
  "#",
  "'",
  '"',
  "\\",
  "\t",
  "\r\n",
  " x ",
  "\u0085",
  "\u2028",
  "\ufeff",
  "\u0000",
  "\u001b",
  "🐎",
  "?",
  "!x",
  "&x",
  "*x",
  "%x",
  "@x",
  "`x",
  "{",
  "]",
  "---",
  "...",
  "x".repeat(2_000),
];
const NUMBERS = [
  0,
  -1,
  1.5,
  1e21,
  1e-7,
  -0.5,
  2 ** 53,
  123456789.125,
  9_007_199_254_740_993n,
  -(2n ** 63n),
  2n ** 64n - 1n,
];

/** Plain values, with what is odd in them; the same each time. */
function values(): unknown[] {
  const text = fc.oneof(
    fc.constantFrom(...ODD),
    fc.string({ unit: "grapheme" }),
    fc.array(fc.constantFrom(...ODD)).map((all) => all.join("")),
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: "small" },
      text,
      fc.constantFrom(...NUMBERS, true, false, null),
      fc.array(tie("tree"), { maxLength: 5 }),
      fc.dictionary(
        text.filter((key) => !key.startsWith("__")),
        tie("tree"),
        { maxKeys: 5 },
      ),
    ),
  }));
  return [
    ...ODD,
    ...ODD.map((each) => ({ [each]: [each] })),
    ...NUMBERS,
    ...fc.sample(tree, { numRuns: 500, seed: 1 }),
  ];
}

const HOW = {
  yaml: {
    module: "yaml",
    load: "yaml.load(b, yaml.SafeLoader)",
    dump: "yaml.safe_dump(v).encode()",
  },
  msgpack: { module: "msgpack", load: "msgpack.unpackb(b, raw=False)", dump: "msgpack.packb(v, use_bin_type=True)" },
} as const;

for (const [name, load] of [
  ["yaml", loadYaml],
  ["msgpack", () => MSGPACK_FORMAT],
] as const) {
  describe(`${name} and Python's`, HANG, () => {
    const { module, load: loads, dump } = HOW[name];
    const program = `
import base64, json, sys, ${module}
for line in sys.stdin:
    b = base64.b64decode(line)
    v = ${loads}
    print(json.dumps([v, base64.b64encode(${dump}).decode()]))
`;

    test("read each other's values as they are", async (t) => {
      const format: ContentFormat = await load();
      const texts = values().map((value) => encodeJson(value));
      const lines = texts.map((text) => Buffer.from(format.fromJsonText(text)).toString("base64"));
      const printed = (await runPython(t, program, { input: `${lines.join("\n")}\n` })).trimEnd().split("\n");
      assert.equal(printed.length, texts.length);
      for (const [i, line] of printed.entries()) {
        const expected = decodeJson(texts[i] ?? "");
        const [theirs, encoded] = decodeJson(line) as [unknown, string];
        assert.deepEqual(theirs, expected, `Python reads ${texts[i]}`);
        const back = decodeJson(format.toJsonText(Buffer.from(encoded, "base64"), DEFAULT_LIMITS));
        assert.deepEqual(back, expected, `we read what Python writes of ${texts[i]}`);
      }
    });
  });
}

describe("signed content and Celery's", HANG, () => {
  const program = `
import base64, json, sys
from celery.security.certificate import Certificate, FSCertStore
from celery.security.key import PrivateKey
from celery.security.serialization import SecureSerializer
from celery.security.utils import get_digest_algorithm
folder = ${JSON.stringify(FIXTURES)}
key = PrivateKey(open(folder + "/bob.key").read(), password=b"open sesame")
bob = SecureSerializer(key, Certificate(open(folder + "/store/bob.crt").read()), FSCertStore(folder + "/store"))
for line in sys.stdin:
    v = bob.deserialize(line.strip())
    print(json.dumps([v, bob.serialize(v)]))
`;

  test("is believed by each other, in the envelope of that Celery", async (t) => {
    const format = authFormat({
      signer: {
        id: readCertificate(join(FIXTURES, "store/alice.crt")).id,
        key: readKey(join(FIXTURES, "alice.key"), undefined),
      },
      trusted: readCertStore(join(FIXTURES, "store"), Date.now()),
      digest: "sha256",
      envelope: "raw",
      inner: ACCEPT_JSON,
      nowMs: Date.now,
    });
    const texts = values()
      .slice(0, 150)
      .map((value) => encodeJson(value));
    const lines = texts.map((text) => Buffer.from(format.fromJsonText(text)).toString());
    const printed = (await runPython(t, program, { input: `${lines.join("\n")}\n` })).trimEnd().split("\n");
    assert.equal(printed.length, texts.length);
    for (const [i, line] of printed.entries()) {
      const expected = decodeJson(texts[i] ?? "");
      const [theirs, encoded] = decodeJson(line) as [unknown, string];
      assert.deepEqual(theirs, expected);
      assert.deepEqual(decodeJson(format.toJsonText(Buffer.from(encoded), DEFAULT_LIMITS)), expected);
    }
  });
});
