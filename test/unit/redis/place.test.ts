import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type PlaceOptions, placeOf } from "../../../src/redis/place.ts";

const at = (text: string, options: Partial<PlaceOptions> = {}) => placeOf(text, { what: "result backend", ...options });

describe("where a Redis is, in Celery's words", () => {
  test("is our own URL, completed by settings where it says nothing", () => {
    const { url } = at("redis://h:1/2", { username: "u", password: "p" });
    assert.deepEqual(
      [url.addresses, url.database, url.username, url.password],
      [[{ host: "h", port: 1 }], 2, "u", "p"],
    );
    assert.deepEqual(
      [
        at("redis://a:b@h", { username: "u", password: "p" }).url.username,
        at("redis://:b@h", { password: "p" }).url.password,
      ],
      ["a", "b"],
    );
  });

  test("is kombu's list of Sentinels, with user, password and database of the first", () => {
    const { url } = at("sentinel://u:p%40@a:1/3;sentinel://b;c:4/9", {
      masterName: "my master",
      sentinelUsername: "s",
      sentinelPassword: "t",
    });
    assert.equal(url.kind, "sentinel");
    assert.deepEqual(url.addresses, [
      { host: "a", port: 1 },
      { host: "b", port: 26_379 },
      { host: "c", port: 4 },
    ]);
    assert.deepEqual([url.master, url.database, url.username, url.password], ["my master", 3, "u", "p@"]);
    assert.deepEqual([url.sentinelUsername, url.sentinelPassword], ["s", "t"]);
    assert.equal(url.shown.includes("p%40"), false);
  });

  test("needs the name of the Sentinels' master, and says which setting has it", () => {
    assert.throws(
      () => at("sentinel://:sesame@a", { masterSetting: "the_setting" }),
      (error: Error) => {
        assert.match(error.message, /result backend URL .* not whose: set the_setting/);
        assert.doesNotMatch(error.message, /sesame/);
        return true;
      },
    );
  });

  test("speaks TLS by its scheme or its setting; files are read, Node's own names go through", () => {
    const folder = mkdtempSync(join(tmpdir(), "lovage-"));
    const [ca, cert, key] = ["ca", "cert", "key"].map((name) => {
      writeFileSync(join(folder, name), name);
      return join(folder, name);
    }) as [string, string, string];
    try {
      const query = new URLSearchParams({
        ssl_cert_reqs: "CERT_REQUIRED",
        ssl_ca_certs: ca,
        ssl_certfile: cert,
        ssl_keyfile: key,
      });
      const byUrl = at(`rediss://h/1?${query}`);
      assert.deepEqual(
        [byUrl.url.tls, byUrl.url.database, byUrl.tls],
        [true, 1, { ca: "ca", cert: "cert", key: "key" }],
      );
      assert.deepEqual(
        at("redis://h", { ssl: { ssl_cert_reqs: "ssl.CERT_REQUIRED", ssl_ca_certs: ca, servername: "s" } }).tls,
        {
          ca: "ca",
          servername: "s",
        },
      );
      assert.equal(at("redis://h", { ssl: true }).url.tls, true);
      assert.equal(at("redis://h", { ssl: false }).url.tls, false);
      assert.equal(at("redis://h").url.tls, false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  for (const [text, ssl, message] of [
    ["rediss://h?ssl_cert_reqs=none", undefined, /not checked protects from nobody/],
    ["rediss://h?ssl_cert_reqs=CERT_OPTIONAL", undefined, /not checked protects from nobody/],
    ["rediss://h", { ssl_cert_reqs: null }, /not checked/],
    ["redis://h?ssl_ca_certs=x", undefined, /begin it with rediss/],
    ["rediss://h?ssl_ca_certs=/no/such/file", undefined, /ssl_ca_certs: the file "\/no\/such\/file" cannot be read/],
    ["rediss://h?db=1", undefined, /unknown parameter "db"/],
  ] as const) {
    test(`is refused: ${text} ${JSON.stringify(ssl) ?? ""}`, () => {
      assert.throws(() => at(text, { ssl }), { code: "ERR_INVALID_INPUT", message });
    });
  }
});
