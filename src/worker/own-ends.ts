/** Why the worker itself ends a run: nobody asked that this task not be done. */
import { POOL_STOPPED } from "../pool/pool.ts";

/** A cold stop; told apart from a request to abort it. */
export const COLD_STOP = "cold stop";

/** `workerCancelLongRunningTasksOnConnectionLoss`: the broker gives its message to somebody. */
export const CONNECTION_LOST = "the connection to the broker was lost";

export function isWorkersOwn(reason: string): boolean {
  return reason === COLD_STOP || reason === POOL_STOPPED || reason === CONNECTION_LOST;
}
