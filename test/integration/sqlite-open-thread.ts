/** Opens each of the files at the same moment as the other threads; says what failed. */
import { parentPort, workerData } from "node:worker_threads";
import { Connection } from "../../src/sqlite/connection.ts";

const { paths, arrived, openers } = workerData as { paths: string[]; arrived: SharedArrayBuffer; openers: number };
const counts = new Int32Array(arrived);
const failures: string[] = [];

for (const [i, path] of paths.entries()) {
  Atomics.add(counts, i, 1);
  while (Atomics.load(counts, i) < openers);
  try {
    new Connection({ path, durability: "process", lockWaitMs: 10_000, create: true, suspicious: false }).close();
  } catch (error) {
    failures.push(String(error));
  }
}
parentPort?.postMessage(failures);
