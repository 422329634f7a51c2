import { randomUUID } from "node:crypto";
import { after, describe } from "node:test";
import { openPostgresSchedule } from "../../src/schedule/stores/postgres.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { scheduleStoreConformance } from "../../src/testing/schedule-store-conformance.ts";
import { dropSchema, needPostgres, newSchema, POSTGRES_URL, withSchema } from "../support/postgres.ts";

const { skip } = await needPostgres();
// One schema for all, each test in a namespace of its own: what one does, another must not see.
const schema = newSchema();
const url = withSchema(POSTGRES_URL, schema);

describe("with PostgreSQL", { skip }, () => {
  after(() => dropSchema(schema));

  scheduleStoreConformance("postgres", async (options = {}) => {
    const clock = new FakeClock();
    const namespace = randomUUID();
    const open = () => openPostgresSchedule(url, { namespace, clock, ...options });
    const store = await open();
    const others: Awaited<ReturnType<typeof open>>[] = [];
    const other = async () => {
      const opened = await open();
      others.push(opened);
      return opened;
    };
    return {
      store,
      clock,
      other,
      close: async () => void (await Promise.all([store, ...others].map((each) => each.close()))),
    };
  });
});
