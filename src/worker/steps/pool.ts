/** Where tasks run. What a task asks of its worker is answered by the app's gateway. */
import { runTask } from "../../app/run-task.ts";
import type { Step } from "../../blueprint/step.ts";
import type { Pool } from "../../pool/pool.ts";
import { PreforkPool } from "../../pool/prefork/prefork.ts";
import { SoloPool } from "../../pool/solo.ts";
import { settingsRef, type WorkerSettings } from "../settings.ts";
import { storeStep } from "./store.ts";

export const poolStep: Step<Pool, { settings: typeof settingsRef; owned: typeof storeStep }> = {
  name: "pool",
  stopTimeoutMs: Number.POSITIVE_INFINITY,
  needs: { settings: settingsRef, owned: storeStep },
  async start({ settings, owned: { store, owner } }, signal) {
    const pool = settings.pool === "solo" ? soloPool(settings) : preforkPool(settings);
    let announced: readonly number[] = [];
    // Announced again at each change: if this process dies, the next one ends these before it runs their work again.
    const enlist = () => {
      announced = pool.pids;
      void store
        .enlist(owner, pool.pids)
        .catch((error) => settings.log.warn("pool processes not announced", { error }));
    };
    const stopListening = pool.onFree(() => {
      if (String(announced) !== String(pool.pids)) enlist();
    });
    signal.addEventListener("abort", () => void pool.stop(0), { once: true });
    await pool.start();
    enlist();
    return {
      part: pool,
      async stop() {
        stopListening();
        await pool.stop(Number.POSITIVE_INFINITY);
      },
    };
  },
};

function soloPool({ app, clock, concurrency, log }: WorkerSettings): Pool {
  return new SoloPool({
    concurrency,
    clock,
    log,
    run: (job, signal) => runTask(job, { registry: app.registry, ask: app.ask, log, clock, signal }),
  });
}

function preforkPool({ app, appFile, clock, concurrency, config, log, logLevel }: WorkerSettings): Pool {
  return new PreforkPool({
    size: concurrency,
    // `workerSettings` refuses prefork without it.
    appPath: appFile ?? "",
    clock,
    log,
    childLog: { level: logLevel },
    ask: app.gateway.askUntyped,
    ...(config.workerMaxMemoryPerChild === undefined ? {} : { maxMemoryPerChild: config.workerMaxMemoryPerChild }),
    ...(config.workerMaxTasksPerChild === undefined ? {} : { maxTasksPerChild: config.workerMaxTasksPerChild }),
  });
}
