/** A reporter of Node's test runner that writes what the closing summary needs: a JSON text a line, a Finding. */
import type { TestEvent } from "node:test/reporters";

export type Finding =
  | { readonly kind: "counts"; readonly passed: number; readonly failed: number; readonly skipped: number }
  | { readonly kind: "failed" | "skipped"; readonly name: string; readonly file: string; readonly why: string };

async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of events) {
    const finding = findingOf(event);
    if (finding !== undefined) yield `${JSON.stringify(finding)}\n`;
  }
}

function findingOf(event: TestEvent): Finding | undefined {
  if (event.type === "test:summary") {
    if (event.data.file !== undefined) return undefined; // of one file; the whole run's comes last
    const { tests, passed, skipped, todo } = event.data.counts;
    return { kind: "counts", passed, failed: tests - passed - skipped - todo, skipped };
  }
  if (event.type === "test:fail") {
    const { name, file = "", details } = event.data;
    const error = details.error as Error & { failureType?: string; cause?: unknown };
    if (error.failureType === "subtestsFailed") return undefined; // the subtests say it themselves
    const cause = error.cause instanceof Error ? error.cause.message : error.message;
    return { kind: "failed", name, file, why: cause.split("\n", 1)[0]?.slice(0, 300) ?? "" };
  }
  if (event.type === "test:pass" && event.data.skip !== undefined) {
    const { name, file = "", skip } = event.data;
    return { kind: "skipped", name, file, why: typeof skip === "string" ? skip : "" };
  }
  return undefined;
}

// biome-ignore lint/style/noDefaultExport: the runner takes a reporter by its module's default export
export default report;
