/** The PostgreSQL that `npm test` sets up: one of our own beside any other, ended with whoever started it. */
import assert from "node:assert/strict";
import { chmod, readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { postgres, probe } from "../../scripts/services/postgres.ts";
import { atEnd } from "../support/cleanup.ts";
import { needPostgresBinaries } from "../support/postgres.ts";
import { startNode } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";

const SERVICE = JSON.stringify(join(import.meta.dirname, "../../scripts/services/postgres.ts"));
/** Starts it, says where it is, and stays. */
const OWNER = `import { postgres } from ${SERVICE};
const { url, missing } = await postgres.ensure();
console.log("url", url ?? missing);
setInterval(() => {}, 60_000);
`;

describe("a private PostgreSQL", needPostgresBinaries(), () => {
  test("starts beside any other, as a user that may, and ends without a trace when its owner is killed", async (t) => {
    const folder = await tempDir(t);
    await chmod(folder, 0o711); // the server's user passes through it
    const owner = startNode(t, "--input-type=module", {
      args: ["-e", OWNER],
      env: { TMPDIR: folder, LOVAGE_TEST_PRIVATE: "1", LOVAGE_TEST_POSTGRES_URL: undefined },
    });
    const [, url = ""] = await owner.waitForLine(/^url (.*)$/);
    assert.equal(await probe(url), undefined);
    assert.equal((await readdir(folder)).length, 1);

    owner.signal("SIGKILL");

    await owner.ended;
    while ((await readdir(folder)).length > 0) await sleep(20);
    assert.match((await probe(url)) ?? "", /ECONNREFUSED/);
  });

  test("says what is wrong when nobody answers at the URL it is told to use", async (t) => {
    const before = process.env.LOVAGE_TEST_POSTGRES_URL;
    atEnd(t, () => {
      if (before === undefined) delete process.env.LOVAGE_TEST_POSTGRES_URL;
      else process.env.LOVAGE_TEST_POSTGRES_URL = before;
    });
    process.env.LOVAGE_TEST_POSTGRES_URL = "postgres://127.0.0.1:1/none";

    const answer = await postgres.ensure();

    assert.ok("missing" in answer);
    assert.match(answer.missing, /LOVAGE_TEST_POSTGRES_URL names a server that does not answer: .*ECONNREFUSED/);
  });
});
