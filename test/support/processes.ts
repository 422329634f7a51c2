/**
 * Programs that tests start: workers, clients, the command line. Each is a process group of its own, which is killed
 * at the end of its test with all that it started; what it writes is kept, line by line, and can be waited for.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "./cleanup.ts";

/** A safety net: a line that does not come within it fails the test with what came instead. */
const LINE_MS = 60_000;

const ROOT = join(import.meta.dirname, "../..");
export const CLI = join(ROOT, "src/cli/main.ts");

export interface ProgramOptions {
  readonly args?: readonly string[];
  /** Over the test's own environment; undefined removes one. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Written to standard input, which is then closed. */
  readonly input?: string;
  /** Leave standard input open, for `write`. */
  readonly keepInput?: boolean;
}

export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class Program {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #lines: { readonly from: "stdout" | "stderr"; readonly text: string }[] = [];
  readonly #watchers = new Set<() => void>();
  #hasEnded = false;
  /** Resolves when the program has ended and all that it wrote is in `lines`. Never rejects. */
  readonly ended: Promise<Ended>;

  constructor(t: TestContext, command: string, options: ProgramOptions = {}) {
    const args = options.args ?? [];
    this.#name = [command, ...args].join(" ");
    const env: NodeJS.ProcessEnv = { ...process.env, ...options.env };
    delete env.NODE_TEST_CONTEXT; // else a Node program would report to the test runner
    for (const [name, value] of Object.entries(env)) if (value === undefined) delete env[name];
    this.#child = spawn(command, args, {
      cwd: options.cwd,
      env,
      stdio: [options.input === undefined && options.keepInput !== true ? "ignore" : "pipe", "pipe", "pipe"],
      detached: true,
    });
    this.#child.stdin?.on("error", () => {}); // it may end without reading its input
    if (options.keepInput !== true) this.#child.stdin?.end(options.input);
    for (const from of ["stdout", "stderr"] as const) this.#collect(from);
    this.ended = new Promise((resolve) => {
      this.#child.once("error", (error) => {
        this.#push("stderr", error.message);
        this.#end();
        resolve({ status: null, signal: null });
      });
      this.#child.once("close", (status, signal) => {
        this.#end();
        resolve({ status, signal });
      });
    });
    atEnd(t, () => this.kill9());
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`${this.#name} did not start: ${this.text}`);
    return pid;
  }

  /** All lines of standard output and error, in the order they came. */
  get lines(): readonly string[] {
    return this.#lines.map((line) => line.text);
  }

  get text(): string {
    return this.lines.join("\n");
  }

  get stdout(): string {
    return this.#textOf("stdout");
  }

  get stderr(): string {
    return this.#textOf("stderr");
  }

  /**
   * The first line at or after `from` (an index of `lines`) that matches. Resolves at once when it came before.
   * @throws {Error} the program ended without it, or a minute passed; with all that it wrote
   */
  waitForLine(pattern: RegExp, from = 0): Promise<RegExpMatchArray> {
    return new Promise((resolve, reject) => {
      let next = from;
      const look = (): void => {
        for (; next < this.#lines.length; next += 1) {
          const match = this.#lines[next]?.text.match(pattern);
          if (match) {
            done(() => resolve(match));
            return;
          }
        }
        if (this.#hasEnded) done(() => reject(this.#failure(`ended without a line like ${pattern}`)));
      };
      const done = (settle: () => void): void => {
        clearTimeout(timeout);
        this.#watchers.delete(look);
        settle();
      };
      const timeout = setTimeout(() => {
        done(() => reject(this.#failure(`wrote no line like ${pattern} within ${LINE_MS / 1000} s`)));
      }, LINE_MS);
      this.#watchers.add(look);
      look();
    });
  }

  /** To standard input, which was left open. */
  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Send the signal to the program alone (SIGTERM: a warm stop of a worker), and wait for its end. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Ended> {
    this.signal(signal);
    return this.ended;
  }

  /** Send a signal to the program alone; nothing when it has ended. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** kill -9 of the program and of all in its process group, as a machine that loses power. Twice is once. */
  async kill9(): Promise<void> {
    const { pid } = this.#child;
    if (pid !== undefined) {
      try {
        process.kill(-pid, "SIGKILL");
      } catch {
        // Nothing of the group is left.
      }
    }
    await this.ended;
  }

  #collect(from: "stdout" | "stderr"): void {
    let rest = "";
    this.#child[from]?.setEncoding("utf8").on("data", (chunk: string) => {
      const pieces = (rest + chunk).split(/\r?\n/);
      rest = pieces.pop() ?? "";
      for (const piece of pieces) this.#push(from, piece);
      this.#look();
    });
    this.#child[from]?.once("end", () => {
      if (rest !== "") this.#push(from, rest);
      this.#look();
    });
  }

  #push(from: "stdout" | "stderr", text: string): void {
    this.#lines.push({ from, text });
  }

  #end(): void {
    this.#hasEnded = true;
    this.#look();
  }

  #look(): void {
    for (const look of [...this.#watchers]) look();
  }

  #textOf(from: "stdout" | "stderr"): string {
    return this.#lines.flatMap((line) => (line.from === from ? [line.text] : [])).join("\n");
  }

  #failure(what: string): Error {
    return new Error(`it ${what}: ${this.#name}\nIt wrote:\n${this.text}`);
  }
}

/** A Node program of this tree: `.ts` as it is, and `lovage` means src/. */
export function startNode(t: TestContext, file: string, options: ProgramOptions = {}): Program {
  return new Program(t, process.execPath, {
    ...options,
    args: ["--conditions=lovage-source", file, ...(options.args ?? [])],
  });
}

/** `lovage …`, started. */
export function startCli(t: TestContext, args: readonly string[], options: ProgramOptions = {}): Program {
  return startNode(t, CLI, { ...options, args });
}

/** `lovage …`, to its end. */
export async function runCli(
  t: TestContext,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<Ended & { readonly stdout: string; readonly stderr: string }> {
  const program = startCli(t, args, options);
  const ended = await program.ended;
  return { ...ended, stdout: program.stdout, stderr: program.stderr };
}

export interface WorkerOptions extends ProgramOptions {
  /** The file with the app: `-A`. */
  readonly app: string;
}

/** `lovage -A APP worker ARGS…`, started; wait for its line that says it is ready. */
export function startWorker(t: TestContext, { app, args = [], ...options }: WorkerOptions): Program {
  return startCli(t, ["-A", app, "worker", ...args], options);
}
