/**
 * Another process at a file of results: stores the documents that it is given on standard input, one JSON object a line, and says
 * when it is done. Arguments: the file; then "together", "one-by-one", or "stay": together, and then wait to be killed.
 */
import { createInterface } from "node:readline";
import { openSqliteResults } from "../../../src/results/sqlite.ts";

const [path = "", mode] = process.argv.slice(2);
const results = await openSqliteResults(path);
const stores: Promise<void>[] = [];
for await (const line of createInterface({ input: process.stdin })) {
  const store = results.store(JSON.parse(line), 0);
  stores.push(store);
  if (mode === "one-by-one") await store;
}
await Promise.all(stores);
console.log(`stored ${stores.length}`);
if (mode === "stay") setInterval(() => undefined, 60_000);
else await results.close();
