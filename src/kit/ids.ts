/** Ids that nobody else makes. */
import { randomUUID } from "node:crypto";

/** A task id as Celery makes it: a random UUID, version 4, lower case. */
export function newTaskId(): string {
  return randomUUID();
}
