/** Our schema in PostgreSQL: made, kept whole, refused when it is not ours to use; and what the server must be. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { currentVersion, migrate, migrationsOf } from "../../src/schedule/stores/postgres/migrate.ts";
import type { Querier } from "../../src/schedule/stores/postgres/pool.ts";
import { lookAt } from "../../src/schedule/stores/postgres/truth.ts";
import { parsePostgresUrl } from "../../src/schedule/stores/postgres/url.ts";
import { openPostgresSchedule } from "../../src/schedule/stores/postgres.ts";
import { dueAt } from "../../src/testing/schedule-fixtures.ts";
import { atEnd } from "../support/cleanup.ts";
import { connectPlain, needPostgres, ownSchema, POSTGRES_URL, withClient, withSchema } from "../support/postgres.ts";

const { skip } = await needPostgres();

describe("the schema of the schedule in PostgreSQL", { skip }, () => {
  test("a migration that is killed behind any of its statements leaves nothing of it, and the next one is whole", async (t) => {
    const { url, schema } = ownSchema(t);
    const place = parsePostgresUrl(url);
    const watcher = await connectPlain(url);
    atEnd(t, () => watcher.end());
    let killed = 0;
    for (let after = 1; ; after++) {
      const client = await connectPlain(url);
      const ended = new Promise<void>((resolve) => void client.once("end", resolve));
      const { rows } = await client.query("SELECT pg_backend_pid() AS pid");
      let statements = 0;
      const dying: Querier = {
        query: async (text, values) => {
          const answer = await client.query(text, values === undefined ? [] : [...values]);
          if (++statements === after) {
            await watcher.query("SELECT pg_terminate_backend($1, 10000)", [rows[0]?.pid]);
            await ended;
          }
          return answer;
        },
      };
      const outcome = await migrate(dying, place).then(
        () => "done",
        () => "killed",
      );
      const left = await watcher.query("SELECT to_regnamespace($1) IS NOT NULL AS is_there", [schema]);
      await client.end().catch(() => {});
      if (outcome === "done") break;
      killed += 1;
      if (left.rows[0]?.is_there === true) {
        // Only behind the COMMIT itself: then all of it is there.
        const version = await watcher.query(`SELECT max(version) AS version FROM "${schema}".migrations`);
        assert.equal(version.rows[0]?.version, currentVersion(schema), `half a schema after statement ${after}`);
      }
      // Now and then as a whole: opened, used, and removed again.
      if (after % 7 === 0 || left.rows[0]?.is_there === true) {
        const store = await openPostgresSchedule(url);
        assert.equal((await store.put([dueAt(1)]))[0]?.put, "added");
        assert.deepEqual(await store.counts(), { scheduled: 1 });
        await store.close();
        await watcher.query(`DROP SCHEMA "${schema}" CASCADE`);
        if (left.rows[0]?.is_there === true) break;
      }
    }
    assert.ok(killed >= migrationsOf(schema).flat().length, `killed only ${killed} times`);
  });

  test("of many that open at once one makes the schema, and all can use it", async (t) => {
    const { url } = ownSchema(t);
    const stores = await Promise.all(Array.from({ length: 8 }, () => openPostgresSchedule(url, { connections: 1 })));
    atEnd(t, async () => void (await Promise.all(stores.map((store) => store.close()))));
    const answers = await Promise.all(stores.map((store) => store.put([dueAt(1, { key: "one" })])));
    assert.equal(answers.flat().filter(({ put }) => put === "added").length, 1);
    assert.deepEqual(await stores[3]?.counts(), { scheduled: 1 });
  });

  test("a schema of a newer Lovage is refused by name, and left as it is; so is one that goes away, or becomes newer, while it is open", async (t) => {
    const { url, schema } = ownSchema(t);
    const store = await openPostgresSchedule(url, { connections: 1 });
    atEnd(t, () => store.close());
    await store.put([dueAt(1)]);
    await withClient(url, (client) => client.query(`INSERT INTO "${schema}".migrations (version) VALUES (99)`));

    await assert.rejects(openPostgresSchedule(url), {
      code: "ERR_STORE_SCHEMA",
      message: new RegExp(`schema "${schema}".*version 99, made by a newer Lovage`),
    });
    await withClient(url, async (client) => {
      await client.query(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'lovage' AND query LIKE $1",
        [`%${schema}%`],
      );
    });
    await settled(() => assert.rejects(store.counts(), { code: "ERR_STORE_SCHEMA", message: /newer Lovage/ }));
    await withClient(url, (client) => client.query(`DELETE FROM "${schema}".migrations WHERE version = 99`));
    assert.deepEqual(await store.counts(), { scheduled: 1 });

    await withClient(url, (client) => client.query(`DROP SCHEMA "${schema}" CASCADE`));
    await assert.rejects(store.counts(), { code: "ERR_STORE_SCHEMA", message: /is not what it was/ });
    await assert.rejects(store.put([dueAt(1)]), { code: "ERR_STORE_SCHEMA" });
  });

  test("a schema that holds what is not ours is refused, and left as it is", async (t) => {
    const { url, schema } = ownSchema(t);
    await withClient(url, (client) => client.query(`CREATE SCHEMA "${schema}" CREATE TABLE callbacks (mine integer)`));
    await assert.rejects(openPostgresSchedule(url), {
      code: "ERR_STORE_SCHEMA",
      message: /holds what is not ours.*schema=/,
    });
    await withClient(url, (client) => client.query(`SELECT mine FROM "${schema}".callbacks`));
  });

  test("a missing right is one line that says what to grant; with it all works", async (t) => {
    const { url, schema } = ownSchema(t);
    const role = `${schema}_role`;
    const asRole = roleUrl(url, role);
    await withClient(url, (client) => client.query(`CREATE ROLE "${role}" LOGIN PASSWORD 'sécret' NOSUPERUSER`));
    atEnd(t, () =>
      withClient(url, async (client) => {
        await client.query(`DROP OWNED BY "${role}" CASCADE`);
        await client.query(`DROP ROLE "${role}"`);
      }),
    );
    const missing = { code: "ERR_STORE_POLICY", message: new RegExp(`GRANT USAGE ON SCHEMA "${schema}"`) };

    await assert.rejects(openPostgresSchedule(asRole), { ...missing, message: /CREATE ON DATABASE/ });
    const store = await openPostgresSchedule(url);
    atEnd(t, () => store.close());
    await assert.rejects(openPostgresSchedule(asRole), missing);
    await withClient(url, (client) => client.query(`GRANT USAGE ON SCHEMA "${schema}" TO "${role}"`));
    await assert.rejects(openPostgresSchedule(asRole), missing);
    await withClient(url, async (client) => {
      await client.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "${schema}" TO "${role}"`);
      await client.query(`GRANT USAGE ON ALL SEQUENCES IN SCHEMA "${schema}" TO "${role}"`);
    });

    const theirs = await openPostgresSchedule(asRole);
    atEnd(t, () => theirs.close());
    assert.equal((await theirs.put([dueAt(1, { key: "k" })]))[0]?.put, "added");
    assert.deepEqual(await store.counts(), { scheduled: 1 });
    assert.doesNotMatch(theirs.url, /s%C3%A9cret|sécret/);
  });

  test("nobody's search_path matters, not even one with traps in it", async (t) => {
    const { url, schema } = ownSchema(t);
    const role = `${schema}_role`;
    await withClient(url, async (client) => {
      await client.query(`CREATE SCHEMA "${schema}_evil"`);
      await client.query(
        `CREATE FUNCTION "${schema}_evil".clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2000-01-01' $$`,
      );
      await client.query(`CREATE TABLE "${schema}_evil".callbacks (n bigint)`);
      await client.query(`CREATE ROLE "${role}" LOGIN SUPERUSER`);
      await client.query(`ALTER ROLE "${role}" SET search_path = "${schema}_evil", pg_catalog`);
    });
    atEnd(t, () =>
      withClient(url, async (client) => {
        await client.query(`DROP SCHEMA "${schema}_evil" CASCADE`);
        await client.query(`DROP OWNED BY "${role}" CASCADE`);
        await client.query(`DROP ROLE "${role}"`);
      }),
    );
    const store = await openPostgresSchedule(roleUrl(url, role));
    atEnd(t, () => store.close());
    await store.put([dueAt(0, { key: "k", tags: ["t"] })]);
    const { claims } = await store.claimDue({ id: "a" }, 1, 1_000);
    assert.equal(claims.length, 1);
    assert.ok((await store.nowMs()) > Date.UTC(2020));
    assert.deepEqual(await store.cancel({ key: "k" }), { answer: "running", id: claims[0]?.callback.id });
  });

  test("schemas of odd names, and two in one database, do not see each other", async (t) => {
    const { url } = ownSchema(t);
    const odd = withSchema(POSTGRES_URL, `Ö "d';--${crypto.randomUUID().slice(0, 8)}`);
    const schema = new URL(odd).searchParams.get("schema") as string;
    atEnd(t, () =>
      withClient(url, async (client) => {
        await client.query(`DROP SCHEMA IF EXISTS "${schema.replaceAll('"', '""')}" CASCADE`);
      }),
    );
    const [one, two] = await Promise.all([openPostgresSchedule(url), openPostgresSchedule(odd)]);
    atEnd(t, async () => void (await Promise.all([one.close(), two.close()])));
    await two.put([dueAt(1, { key: "k" })]);
    assert.deepEqual([await one.counts(), await two.counts()], [{}, { scheduled: 1 }]);
  });

  test("the level is what the server gives: its commits that do not wait for the disk are made to wait", async (t) => {
    const { url, schema } = ownSchema(t);
    const role = `${schema}_role`;
    await withClient(url, async (client) => {
      await client.query(`CREATE ROLE "${role}" LOGIN SUPERUSER`);
      await client.query(`ALTER ROLE "${role}" SET synchronous_commit = off`);
    });
    atEnd(t, () =>
      withClient(url, async (client) => {
        await client.query(`DROP OWNED BY "${role}" CASCADE`);
        await client.query(`DROP ROLE "${role}"`);
      }),
    );
    const seen: string[] = [];
    const store = await openPostgresSchedule(roleUrl(url, role));
    atEnd(t, () => store.close());
    await withClient(url, async (client) => {
      // Says at each put what is in force.
      await client.query(
        `CREATE FUNCTION "${schema}".tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.task := current_setting('synchronous_commit'); RETURN NEW; END $$`,
      );
      await client.query(
        `CREATE TRIGGER tell BEFORE INSERT ON "${schema}".callbacks FOR EACH ROW EXECUTE FUNCTION "${schema}".tell()`,
      );
    });
    await store.put([dueAt(1)]);
    for (const { message } of (await store.list({ limit: 1 })).callbacks) seen.push(message.task);
    assert.deepEqual(seen, ["on"]);
    assert.equal(store.durability, "strict");
  });

  test("a server that is not as it must be is refused in one line", async (t) => {
    const place = parsePostgresUrl("postgres://u:secret@h/d");
    const good = {
      version: 150_002,
      version_text: "15.2",
      is_replica: false,
      read_only: "off",
      isolation: "read committed",
      encoding: "UTF8",
      fsync: "on",
      full_page_writes: "on",
      synchronous_commit: "on",
      has_schema: false,
      has_namespace: false,
      may_use: true,
    };
    const look = (of: object) => lookAt({ query: async () => ({ rows: [{ ...good, ...of }] }) }, place);
    assert.deepEqual(await look({}), { durability: "strict", mustAskForSync: false, schemaVersion: 0 });
    assert.equal((await look({ fsync: "off" })).durability, "process");
    assert.equal((await look({ full_page_writes: "off" })).durability, "process");
    for (const [of, code, message] of [
      [{ version: 140_010, version_text: "14.10" }, "ERR_STORE_SCHEMA", /PostgreSQL 14.10: 15 or newer/],
      [{ encoding: "LATIN1" }, "ERR_STORE_SCHEMA", /LATIN1.*UTF8/],
      [{ is_replica: true }, "ERR_STORE_POLICY", /replica: name the primary/],
      [{ read_only: "on" }, "ERR_STORE_POLICY", /read-only/],
      [{ isolation: "serializable" }, "ERR_STORE_POLICY", /isolation "serializable".*read committed/],
      [{ may_use: false }, "ERR_STORE_POLICY", /GRANT USAGE/],
    ] as const) {
      await assert.rejects(look(of), (error: Error & { code: string }) => {
        assert.equal(error.code, code);
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /secret|\n/);
        return true;
      });
    }
    const { url, schema } = ownSchema(t);
    const role = `${schema}_role`;
    await withClient(url, async (client) => {
      await client.query(`CREATE ROLE "${role}" LOGIN SUPERUSER`);
      await client.query(`ALTER ROLE "${role}" SET default_transaction_isolation = 'repeatable read'`);
    });
    atEnd(t, () => withClient(url, async (client) => void (await client.query(`DROP ROLE "${role}"`))));
    await assert.rejects(openPostgresSchedule(roleUrl(url, role)), {
      code: "ERR_STORE_POLICY",
      message: /repeatable read/,
    });
  });
});

/** Another user of the same server. */
function roleUrl(url: string, role: string): string {
  const changed = new URL(url);
  changed.username = role;
  changed.password = "sécret";
  return changed.href;
}

/** A pool may not have noticed yet that its connection is gone: then the first answer is that it was lost. */
async function settled(check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch {
    await check();
  }
}
