/** A process of its own with a schedule in PostgreSQL: claims and settles what is due until it is told to end. Prints an id a line. */
import { openPostgresSchedule } from "../../../src/schedule/stores/postgres.ts";

const [url = "", owner = ""] = process.argv.slice(2);
const store = await openPostgresSchedule(url);
await store.enlist({ id: owner }, []);
console.log("ready");
for (let idle = false; ; ) {
  const { claims } = await store.claimDue({ id: owner }, 10, 60_000);
  for (const { callback } of claims) console.log(`started ${callback.id}`);
  await Promise.all(claims.map((claim) => store.settle(claim, { kind: "succeeded" })));
  // Nothing left, twice over.
  if (claims.length === 0 && idle) break;
  idle = claims.length === 0;
}
await store.close();
