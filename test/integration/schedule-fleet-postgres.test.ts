/** Several real workers on one schedule in PostgreSQL. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { atEnd } from "../support/cleanup.ts";
import { startFleet } from "../support/fleet.ts";
import {
  connectPlain,
  needPostgres,
  needPostgresBinaries,
  ownSchema,
  POSTGRES_URL,
  startPostgres,
} from "../support/postgres.ts";
import { fleetSuite, outlivesItsStore } from "./schedule-fleet-suite.ts";

const { skip } = await needPostgres();

fleetSuite({ name: "PostgreSQL", skip, place: (t) => ({ url: ownSchema(t).url }) });

test("what is scheduled in a transaction of one's own fires when it was committed, and never when it was not", {
  skip,
}, async (t) => {
  const { url } = ownSchema(t);
  const fleet = await startFleet(t, { place: { url }, env: { FLEET_PG: POSTGRES_URL } });
  const worker = await fleet.worker("w1");
  assert.match(
    worker.text,
    /schedule: postgres:\/\/\S+, (strict: survives power loss|process: survives kill -9, not power loss)/,
  );
  const client = fleet.client();
  const own = await connectPlain(url);
  atEnd(t, () => own.end());

  for (const end of ["COMMIT", "ROLLBACK"]) {
    await own.query("BEGIN");
    const word = `client ${end}`;
    await client.schedule.callAfter(0.2, client.signature("fleet.note", { args: [word] }), { key: word, tx: own });
    await own.query(end);
    const order = [`task ${end}`, end === "COMMIT"];
    await client.signature("fleet.order", { args: order }).delay();
    const [[, , pid] = []] = await fleet.ledger.waitFor(1, "ordered", `task ${end}`);
    assert.notEqual(pid, worker.pid);
  }
  await fleet.ledger.waitFor(1, "ran", "client COMMIT");
  await fleet.ledger.waitFor(1, "ran", "task COMMIT");
  await fleet.afterAllThatIsDue(client);
  assert.equal(fleet.ledger.of("ran").filter(([, word]) => String(word).endsWith("ROLLBACK")).length, 0);
  assert.equal(await client.schedule.get("task ROLLBACK"), undefined);
});

test("a worker outlives its PostgreSQL", needPostgresBinaries(), async (t) => {
  const server = await startPostgres(t);
  await outlivesItsStore(t, server.url, { stop: () => server.stop("immediate"), start: () => server.start() });
});
