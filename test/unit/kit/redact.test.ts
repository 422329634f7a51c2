import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { isSecretName, redactText, redactUrl } from "../../../src/kit/redact.ts";

describe("redactUrl", () => {
  const shown: [string, string, string][] = [
    ["a password", "amqp://guest:guest@127.0.0.1:5672//", "amqp://guest:**@127.0.0.1:5672//"],
    ["a password without a user", "redis://:secret@localhost/1", "redis://:**@localhost/1"],
    ["a percent-encoded password", "amqp://u:p%40ss%2Fword@h/v", "amqp://u:**@h/v"],
    ["a percent-encoded colon", "amqp://u%3Asecret@h", "amqp://u%3A**@h"],
    ["a raw @ in the password", "amqp://u:p@ss@h/v", "amqp://u:**@h/v"],
    ["a raw slash in the password", "amqp://u:p/ss@h/v", "amqp://u:**@h/v"],
    ["a raw # and ? in the password", "amqp://u:p#s?s@h/v", "amqp://u:**@h/v"],
    ["a space in the password", "amqp://u:p ss@h/v", "amqp://u:**@h/v"],
    [
      "a password of the query",
      "rediss://h:6379/0?ssl=1&password=secret&x=1",
      "rediss://h:6379/0?ssl=1&password=**&x=1",
    ],
    ["a key's password of the query", "amqps://h?ssl_key_password=secret", "amqps://h?ssl_key_password=**"],
    [
      "a sentinel list",
      "sentinel://:pw1@h1:26379;sentinel://:pw2@h2:26379/0",
      "sentinel://:**@h1:26379;sentinel://:**@h2:26379/0",
    ],
    [
      "a comma list",
      "redis://u:pw1@h1:1,redis://h2:2,redis://u:pw3@h3",
      "redis://u:**@h1:1,redis://h2:2,redis://u:**@h3",
    ],
    ["a list with the scheme once", "amqp://u:pw1@h1,u:pw2@h2", "amqp://u:**@h2"],
    ["an IPv6 host", "amqp://u:secret@[::1]:5672//", "amqp://u:**@[::1]:5672//"],
    ["no scheme", "guest:secret@host", "guest:**@host"],
    ["one slash", "amqp:/guest:secret@host", "amqp:/guest:**@host"],
    ["a missing host", "amqp://guest:secret", "amqp://guest:**"],
    ["a whole encoded URL", "amqp%3A%2F%2Fu%3Asecret%40host", "amqp%3A%2F%2Fu%3A**%40host"],
  ];
  for (const [what, url, masked] of shown) {
    test(`masks ${what}`, () => assert.equal(redactUrl(url), masked));
    test(`changes nothing more in the masked form of ${what}`, () => assert.equal(redactUrl(masked), masked));
  }

  for (const url of [
    "sqlite:lovage.db",
    "sqlite:///var/lib/lovage.db",
    "memory://",
    "amqp://127.0.0.1:5672//",
    "amqp://guest@h:5672/v",
    "redis://[::1]:6379/0",
    "http://127.0.0.1:8080/ip?x=1",
    "",
  ]) {
    test(`leaves ${JSON.stringify(url)} as it is`, () => assert.equal(redactUrl(url), url));
  }
});

describe("redactText", () => {
  test("masks the URLs inside a message and leaves the rest", () => {
    assert.equal(
      redactText(
        'cannot reach "amqp://u:secret@h:5672//" (or redis://:secret@h/0), retry in 2 s: see http://docs:80/x',
      ),
      'cannot reach "amqp://u:**@h:5672//" (or redis://:**@h/0), retry in 2 s: see http://docs:80/x',
    );
  });

  test("masks a URL in JSON text whose slashes are escaped", () => {
    assert.equal(redactText('{"url":"amqp:\\/\\/u:secret@h"}'), '{"url":"amqp:\\/\\/u:**@h"}');
  });

  test("masks a password with a space or a quote in it", () => {
    for (const password of ["sec ret", 'sec"ret', "sec'ret"]) {
      const text = redactText(`Invalid URL amqp://u:${password}@h/ was given`);
      assert.equal(text, "Invalid URL amqp://u:**@h/ was given");
    }
  });

  test("leaves node names, times and paths as they are", () => {
    const text = "worker w1@host: 12:30:45 lag=3 origin:gen1@host file:///tmp/a.db key=a:b C:\\x user:name@host";
    assert.equal(redactText(text), text);
  });

  test("takes linear time on a long text", () => {
    const text = redactText(`${"a".repeat(200_000)}://u:secret@h ${"://".repeat(50_000)} ${"?a=b&".repeat(50_000)}`);
    assert.ok(!text.includes("secret"));
  });
});

describe("no password survives", () => {
  const canary = "CaNaRy7f3a";
  const odd = fc.string({ unit: fc.constantFrom(..."@:/?#%&=;,.!$'()*+[]|\\^{}~`<>\"-_0aZ"), maxLength: 6 });
  const scheme = fc.constantFrom("amqp", "amqps", "redis", "rediss", "sentinel", "postgresql", "redis+socket");
  const host = fc.constantFrom("h", "127.0.0.1:5672", "[::1]:6379", "db.example.org");
  const tail = fc.constantFrom("", "/", "//", "/0?x=1", "/vhost");

  test("in redactUrl, whatever stands around it", () => {
    fc.assert(
      fc.property(scheme, odd, odd, host, tail, (s, before, after, h, t) => {
        assert.ok(!redactUrl(`${s}://user:${before}${canary}${after}@${h}${t}`).includes(canary));
      }),
      { numRuns: 2_000 },
    );
  });

  test("in redactUrl, percent-encoded", () => {
    fc.assert(
      fc.property(scheme, fc.string({ unit: "binary", maxLength: 8 }), host, tail, (s, junk, h, t) => {
        const password = encodeURIComponent(`${junk.toWellFormed()}${canary}`);
        assert.ok(!redactUrl(`${s}://user:${password}@${h}${t}`).includes(canary));
        assert.ok(!redactUrl(encodeURIComponent(`${s}://user:${password}@${h}${t}`)).includes(canary));
        assert.ok(!redactUrl(`${s}://${h}/0?password=${password}`).includes(canary));
      }),
      { numRuns: 1_000 },
    );
  });

  test("in redactText, in the middle of a sentence, where a quote ends a URL", () => {
    const plain = odd.map((text) => text.replace(/["'<>`]/g, "^"));
    fc.assert(
      fc.property(scheme, plain, plain, host, tail, (s, before, after, h, t) => {
        const url = `${s}://user:${before}${canary}${after}@${h}${t}`;
        assert.ok(!redactText(`connecting to ${url} failed, trying "${url}" again`).includes(canary));
      }),
      { numRuns: 2_000 },
    );
  });
});

test("names of secrets are told from others", () => {
  for (const name of ["password", "Password", "db_passwd", "clientSecret", "api_key", "Authorization", "authToken"]) {
    assert.equal(isSecretName(name), true, name);
  }
  for (const name of ["token", "key", "passive", "compass_x", "user"]) assert.equal(isSecretName(name), false, name);
});
