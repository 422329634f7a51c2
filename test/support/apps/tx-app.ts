/** An app whose task writes an order and schedules its reminder in one transaction of its own. */
import { Lovage } from "lovage";
import pg from "pg";

export const app = new Lovage("shop");
export const remind = app.task("shop.remind", async () => undefined);
export const order = app.task("shop.order", async (commits: boolean) => {
  const client = new pg.Client({ connectionString: process.env.TX_APP_URL });
  await client.connect();
  try {
    await client.query("BEGIN");
    await client.query(`INSERT INTO "${process.env.TX_APP_SCHEMA}".orders VALUES (1)`);
    await remind.callAfter("1h", [], { key: `order:${commits}`, tx: client });
    await client.query(commits ? "COMMIT" : "ROLLBACK");
  } finally {
    await client.end();
  }
});
