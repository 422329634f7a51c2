/**
 * What else is kept beside revoked task ids in the schedule's store, under ids that no task has: that what runs is to be ended, and the
 * stamps by which tasks were revoked. So both are durable and reach every worker of the schedule, as a revoked id does.
 */
import { createHash } from "node:crypto";

/** The run of this task is to be ended. */
export function endingOf(taskId: string): string {
  return `lovage:end:${hash(taskId)}`;
}

/** Tasks that carry this stamp are revoked. */
export function stampTombstone(header: string, value: string): string {
  return `lovage:stamp:${hash(JSON.stringify([header, value]))}`;
}

/** And those of them that run are to be ended. */
export function stampEnding(header: string, value: string): string {
  return `lovage:end-stamp:${hash(JSON.stringify([header, value]))}`;
}

/** Header and value of each stamp that a message carries; a list is each of its members. */
export function stampsOf(headers: Readonly<Record<string, unknown>> | undefined): [header: string, value: string][] {
  const stamps = headers?.stamps;
  if (typeof stamps !== "object" || stamps === null || Array.isArray(stamps)) return [];
  return Object.entries(stamps).flatMap(([header, value]) =>
    valuesOf(value).map((each): [string, string] => [header, each]),
  );
}

/** As text: Python's 1 and "1" are one stamp to us. */
export function valuesOf(value: unknown): string[] {
  const values = Array.isArray(value) ? value : [value];
  return values.map((each) => (typeof each === "string" ? each : (JSON.stringify(each) ?? "")));
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}
