/** Crashes on a schedule in PostgreSQL: workers killed and stopped, and the server itself stopped at once and started again. */
import { describe, test } from "node:test";
import { needPostgresBinaries } from "../support/postgres.ts";
import { smallCrash } from "./small.ts";

const { skip } = needPostgresBinaries();

describe("PostgreSQL keeps its promises", { skip }, () => {
  test("while workers are killed and stopped, and the server is stopped at once", async (t) => {
    await smallCrash(t, "postgres", [
      ["kill", 2, 500],
      ["server", 2, 500],
      ["stop", 1, 500],
    ]);
  });
});
