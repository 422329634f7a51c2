/** `lovage/worker`: the worker, for programs that run one themselves, and the steps that bootsteps of your own may need. */
export type { Timer, TimerEntry } from "../hub/timer.ts";
export { connectionRef as connectionStep } from "./consumer.ts";
export type { WorkerOptions, WorkerSettings } from "./settings.ts";
export { settingsRef as settingsStep } from "./settings.ts";
export { consumerStep } from "./steps/consumer.ts";
export { hubStep } from "./steps/hub.ts";
export { poolStep } from "./steps/pool.ts";
export { schedulerStep } from "./steps/scheduler.ts";
export { storeStep } from "./steps/store.ts";
export { timerStep } from "./steps/timer.ts";
export { Worker } from "./worker.ts";
