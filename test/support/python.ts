/** Python programs of tests, run by a Python that can import Celery (Debian's is for /usr/bin/python3 alone). */
import type { TestContext } from "node:test";
import { missingVariable } from "../../scripts/services/service.ts";
import { findCelery } from "../../scripts/services/tools.ts";
import { type Needed, skipOrFail } from "./needed.ts";
import { Program, type ProgramOptions } from "./processes.ts";

let looked: Promise<string | undefined> | undefined;

function python(): Promise<string | undefined> {
  const given = process.env.LOVAGE_TEST_PYTHON;
  if (given !== undefined) return Promise.resolve(given);
  looked ??= findCelery().then((tool) => tool?.path); // a test file run by hand, without npm test
  return looked;
}

/** @throws in CI, when there is no Python with Celery */
export async function needCelery(): Promise<Needed> {
  const missing = process.env[missingVariable("LOVAGE_TEST_PYTHON")];
  if (missing !== undefined) return skipOrFail(missing);
  if ((await python()) !== undefined) return { skip: false };
  return skipOrFail("no Python here imports Celery: install python3-celery, or set LOVAGE_TEST_PYTHON");
}

/** Start `python ARGS…`; what it prints comes at once, as UTF-8. */
export async function startPython(t: TestContext, options: ProgramOptions): Promise<Program> {
  const path = await python();
  if (path === undefined) throw new Error("skip the test unless needCelery() says that it can run");
  return new Program(t, path, {
    ...options,
    env: { PYTHONUNBUFFERED: "1", PYTHONIOENCODING: "utf-8", PYTHONDONTWRITEBYTECODE: "1", ...options.env },
  });
}

/** Run Python code to its end; answers what it printed. @throws {Error} it ended with another status than 0; with all it wrote */
export async function runPython(t: TestContext, code: string, options: ProgramOptions = {}): Promise<string> {
  const program = await startPython(t, { ...options, args: ["-c", code, ...(options.args ?? [])] });
  const { status, signal } = await program.ended;
  if (status !== 0) throw new Error(`Python ended with ${signal ?? status}:\n${program.text}`);
  return program.stdout;
}
