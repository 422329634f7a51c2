/**
 * A process that uses the broker in a file, for tests: `broker-process.ts FILE consume QUEUE` takes messages and keeps them,
 * `… publish QUEUE TEXT…` publishes and ends. It says on standard output what it has done.
 */
import { openSqliteBroker } from "../../../src/brokers/sqlite.ts";

const [file = "", work, queue = "", ...texts] = process.argv.slice(2);
const broker = await openSqliteBroker(file);
const connection = await broker.connect({ name: "test", timeoutMs: 20_000 });
await connection.declareQueue(queue);
if (work === "consume") {
  await connection.setPrefetch(Number(texts[0] ?? 10));
  await connection.consume(queue, (delivery) => console.log(`got ${Buffer.from(delivery.message.body).toString()}`));
  console.log("consuming");
  process.stdin.resume(); // until it is killed
  setInterval(() => undefined, 60_000);
} else {
  for (const text of texts) {
    await connection.publish(
      { exchange: "", routingKey: queue },
      { body: Buffer.from(text), properties: {}, headers: {} },
    );
  }
  console.log("published");
  await connection.close();
  await broker.close();
}
