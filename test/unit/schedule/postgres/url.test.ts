import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { parsePostgresUrl } from "../../../../src/schedule/stores/postgres/url.ts";

describe("PostgreSQL's URL", () => {
  test("names everything, percent-encoded; what is ours is not PostgreSQL's", () => {
    const { client, schema, listen, shown, place } = parsePostgresUrl(
      "postgresql://us%40er:p%3A%2Fss@[::1]:5433/da%20ta?schema=sch%C3%A9ma&listen=off&application_name=me",
    );
    assert.deepEqual(client, {
      host: "::1",
      port: 5433,
      user: "us@er",
      password: "p:/ss",
      database: "da ta",
      application_name: "me",
      ssl: false,
    });
    assert.deepEqual(
      [schema, listen, shown, place],
      ["schéma", false, "postgres://us%40er:**@[::1]:5433/da%20ta?schema=sch%C3%A9ma", "[::1]:5433"],
    );
  });

  test("needs hardly anything", () => {
    const { client, schema, listen, shown } = parsePostgresUrl("postgres://db");
    assert.deepEqual(client, { host: "db", port: 5432, application_name: "lovage", ssl: false });
    assert.deepEqual([schema, listen, shown], ["lovage", true, "postgres://db:5432"]);
    assert.equal(parsePostgresUrl("postgres:///d?host=/run/postgresql").shown, "postgres:///d?host=/run/postgresql");
  });

  test("sslmode means what it means to libpq, and certificates come from files", async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "lovage-"));
    t.after(() => rm(folder, { recursive: true }));
    const ca = join(folder, "ca.pem");
    await writeFile(ca, "CA");
    const ssl = (query: string) => parsePostgresUrl(`postgres://h/d?${query}`).client.ssl as Record<string, unknown>;
    assert.equal(ssl("sslmode=require").rejectUnauthorized, false);
    assert.deepEqual(ssl("sslmode=verify-full"), { rejectUnauthorized: true, servername: "h" });
    const some = ssl(`sslmode=verify-ca&sslrootcert=${ca}`);
    assert.deepEqual([some.rejectUnauthorized, some.ca, typeof some.checkServerIdentity], [true, "CA", "function"]);
    assert.equal(ssl(`sslmode=require&sslrootcert=${ca}`).rejectUnauthorized, true);
  });

  test("what is wrong is refused in one line, without the password", () => {
    for (const [url, message] of [
      ["postgres://u:secret@h:x/d", /cannot be read: it has the form/],
      ["mysql://u:secret@h/d", /scheme "mysql"/],
      ["postgres://u:secret@h/d#e", /%23/],
      ["postgres://u:secret%E0@h/d", /password that is not percent-encoded/],
      ["postgres://u:secret@h/d%00", /database that is not/],
      ["postgres://u:secret@h/d?sslmode=prefer", /sslmode=prefer.*verify-full/],
      ["postgres://u:secret@h/d?sslcert=x", /sslcert without TLS/],
      ["postgres://u:secret@h/d?sslmode=require&sslrootcert=/nowhere/ca", /cannot be read/],
      ["postgres://u:secret@h/d?schema=", /schema=/],
      ["postgres://u:secret@h/d?schema=pg_x", /pg_/],
      ["postgres://u:secret@h/d?schema=a%24%24b", /without "\$"/],
      [`postgres://u:secret@h/d?schema=${"x".repeat(64)}`, /63 bytes/],
      ["postgres://u:secret@h/d?listen=maybe", /listen=maybe/],
      ["postgres://u:secret@h/d?port=0", /port 0/],
      ["postgres://u:secret@h/d?statement_timeout=1", /unknown parameter "statement_timeout".*schema/],
    ] as const) {
      assert.throws(
        () => parsePostgresUrl(url),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, "ERR_INVALID_INPUT");
          assert.match(error.message, message);
          assert.doesNotMatch(error.message, /secret|\n/);
          return true;
        },
      );
    }
  });
});
