/** An app of a test's own, all in memory, with a task to call. */
import type { TestContext } from "node:test";
import { Lovage } from "../../../src/app/app.ts";
import type { SettingsInput } from "../../../src/app/config.ts";
import { atEnd } from "../../support/cleanup.ts";

let made = 0;

export function openApp(t: TestContext, settings: SettingsInput = {}) {
  made += 1;
  const app = new Lovage("schedule-test", { broker: `memory://schedule-test-${made}`, ...settings }, { env: {} });
  const tick = app.task("test.tick", (n: number) => n);
  atEnd(t, () => app.close());
  return { app, tick };
}

export async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
