import { randomUUID } from "node:crypto";
import { after, describe } from "node:test";
import { openPostgresSchedule } from "../../src/schedule/stores/postgres.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { dropSchema, needPostgres, newSchema, POSTGRES_URL, withSchema } from "../support/postgres.ts";
import { modelTest } from "./schedule-model-test.ts";
import { MODEL_LIMITS } from "./schedule-side-by-side.ts";

const { skip } = await needPostgres();
// One schema for all, each life in a namespace of its own.
const schema = newSchema();
const url = withSchema(POSTGRES_URL, schema);

describe("with PostgreSQL", { skip }, () => {
  after(() => dropSchema(schema));

  modelTest(
    "postgres",
    async () => {
      const clock = new FakeClock();
      const namespace = randomUUID();
      const open = () => openPostgresSchedule(url, { namespace, clock, limits: MODEL_LIMITS, connections: 2 });
      let store = await open();
      const reopen = async () => {
        await store.close();
        store = await open();
        return store;
      };
      return { store, clock, reopen, close: () => store.close() };
    },
    30,
  );
});
