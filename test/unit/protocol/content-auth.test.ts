/** Signed content, in both of Celery's envelopes. `test/interop/contents.test.ts` signs and reads with Celery. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { readCertificate, readCertStore, readKey } from "../../../src/app/security.ts";
import { type AuthOptions, authFormat } from "../../../src/protocol/content/auth.ts";
import { JSON_FORMAT } from "../../../src/protocol/content/json.ts";
import { loadYaml } from "../../../src/protocol/content/yaml.ts";
import { ACCEPT_JSON, dress } from "../../../src/protocol/content.ts";
import { code } from "./coded.ts";
import { fixturePath } from "./fixtures.ts";
import { formatConformance } from "./format-suite.ts";
import { jsonMessage, readAs } from "./formats.ts";

const NOW_MS = Date.UTC(2026, 10, 26);
const file = (name: string) => fixturePath(`auth/${name}`);
const trusted = readCertStore(file("store"), NOW_MS);
const signerOf = (name: string, place = "", password?: string) => ({
  id: readCertificate(file(`${place}${name}.crt`)).id,
  key: readKey(file(`${name}.key`), password),
});
const alice = signerOf("alice", "store/");

function auth(options: Partial<AuthOptions> = {}) {
  return authFormat({
    signer: alice,
    trusted,
    digest: "sha256",
    envelope: "base64",
    inner: ACCEPT_JSON,
    nowMs: () => NOW_MS,
    ...options,
  });
}

const signed = (text: string, options: Partial<AuthOptions> = {}) =>
  Buffer.from(dress(jsonMessage(text), auth(options)).body);

for (const envelope of ["base64", "raw"] as const) {
  describe(`signed content in the ${envelope} envelope`, () => {
    formatConformance(auth({ envelope }));

    test("is read by whoever trusts the signer, whatever it writes itself", () => {
      const other = envelope === "raw" ? "base64" : "raw";
      const bob = signerOf("bob", "store/", "open sesame");
      for (const reader of [auth(), auth({ envelope: other, signer: undefined })]) {
        assert.deepEqual(readAs(reader, signed('["žluť\\u0000\\u0001"]', { envelope, signer: bob })), ["žluť\0\x01"]);
      }
    });

    test("whose body, signer or signature was changed anywhere is refused", () => {
      const raw = Buffer.from(signed('["to alice"]', { envelope }).toString(), "base64");
      const reader = auth();
      for (let at = 0; at < raw.length; at++) {
        const changed = Buffer.from(raw);
        changed[at] = (changed[at] ?? 0) ^ 0x10;
        let value: unknown;
        try {
          value = readAs(reader, changed.toString("base64"));
        } catch (error) {
          assert.match((error as { code: string }).code, /^ERR_(SIGNATURE|SIGNER|CONTENT_TYPE)$/, `byte ${at}`);
          continue;
        }
        // The inner content encoding is not signed, and not used; nor are unused bits of base64.
        assert.deepEqual(value, ["to alice"], `byte ${at}`);
      }
    });
  });
}

describe("signed content", () => {
  test("of a signer who is not trusted, or whose certificate has ended, is refused", () => {
    const mallory = signed("[1]", { signer: signerOf("mallory") });
    assert.throws(() => readAs(auth(), mallory), code("ERR_SIGNER", /"mallory 3"/));
    const claimed = signed("[1]", { signer: { id: alice.id, key: signerOf("mallory").key } });
    assert.throws(() => readAs(auth(), claimed), code("ERR_SIGNATURE", /alice/));
    const later = auth({ nowMs: () => Date.UTC(2127, 0) });
    assert.throws(() => readAs(later, signed("[1]")), code("ERR_SIGNER_EXPIRED", /2126/));
    assert.throws(() => readAs(auth({ trusted: undefined }), signed("[1]")), code("ERR_SIGNER", /securityCertStore/));
    assert.throws(() => readAs(auth({ digest: "sha512" }), signed("[1]")), code("ERR_SIGNATURE"));
  });

  test("that is none is refused", () => {
    for (const body of ["", "[]", "AAAA", "AAE=", "AAEAAQABAAE=", "é", "=".repeat(10)]) {
      assert.throws(() => readAs(auth(), body), { code: /^ERR_SIGN/ }, body);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        assert.throws(() => readAs(auth(), Buffer.from(bytes).toString("base64")), { code: /^ERR_SIGN/ });
      }),
    );
  });

  test("may hold what the app accepts, and nothing else: not even when it is signed", async () => {
    const yaml = await loadYaml();
    const asYaml = { ...JSON_FORMAT, contentType: yaml.contentType };
    const bytes = Buffer.from(signed("[1]").toString(), "base64");
    const renamed = Buffer.from(
      bytes.toString("latin1").replace(JSON_FORMAT.contentType, asYaml.contentType),
      "latin1",
    );
    assert.throws(() => readAs(auth(), renamed.toString("base64")), code("ERR_CONTENT_TYPE", /application\/x-yaml/));
    const both = auth({ inner: new Map([...ACCEPT_JSON, [yaml.contentType, yaml]]) });
    assert.deepEqual(readAs(both, renamed.toString("base64")), [1]);
    const pickle = bytes.toString("latin1").replace(JSON_FORMAT.contentType, "application/x-python-serialize");
    assert.throws(() => readAs(both, Buffer.from(pickle, "latin1").toString("base64")), code("ERR_CONTENT_TYPE"));
  });

  test("is not written without a key", () => {
    assert.throws(() => signed("[1]", { signer: undefined }), code("ERR_INVALID_INPUT", /securityKey/));
  });
});
