/** The files of signed content: what is read of them, and what is said of those that cannot be used. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readCertStore, readKey } from "../../../src/app/security.ts";
import { code } from "../protocol/coded.ts";
import { fixturePath } from "../protocol/fixtures.ts";

const NOW_MS = Date.UTC(2026, 10, 26);
const file = (name: string) => fixturePath(`auth/${name}`);
const trusted = readCertStore(file("store"), NOW_MS);

describe("a store of certificates", () => {
  test("names a signer as Celery does: its issuer's values and the serial number", () => {
    const serial = 2n ** 130n + 7n;
    assert.deepEqual([...trusted.keys()], [`CZ Žluť, "kůň" & synové + 1 alice/worker ${serial}`, "bob 2"]);
    assert.deepEqual([...readCertStore(file("store/b*.crt"), NOW_MS).keys()], ["bob 2"], "a pattern");
  });

  test("with one that has ended, that is no certificate, or with none, is refused", () => {
    assert.throws(() => readCertStore(file("expired.crt"), NOW_MS), code("ERR_INVALID_INPUT", /expired on 2021/));
    assert.throws(() => readCertStore(file("*.key"), NOW_MS), code("ERR_INVALID_INPUT", /alice\.key" cannot be used/));
    assert.throws(() => readCertStore(file("nothing/*"), NOW_MS), code("ERR_INVALID_INPUT", /no certificate at/));
    assert.throws(() => readCertStore(file("elliptic.crt"), NOW_MS), code("ERR_INVALID_INPUT", /RSA/));
  });

  test("a key of another kind, with another password, or that is not there is refused", () => {
    assert.throws(() => readKey(file("elliptic.key"), undefined), code("ERR_INVALID_INPUT", /RSA/));
    assert.throws(() => readKey(file("bob.key"), undefined), code("ERR_INVALID_INPUT", /bob\.key/));
    assert.throws(() => readKey(file("bob.key"), "wrong"), code("ERR_INVALID_INPUT", /bob\.key/));
    assert.throws(() => readKey(file("nobody.key"), undefined), code("ERR_INVALID_INPUT", /ENOENT/));
  });
});
