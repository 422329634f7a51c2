/** Programs in a real pseudo terminal, which `script` (of bsdutils, on every Debian) opens for them. */
import { execFile, spawnSync } from "node:child_process";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import { type Needed, skipOrFail } from "./needed.ts";
import { CLI, Program, type ProgramOptions } from "./processes.ts";

const run = promisify(execFile);

/** @throws in CI, when there is no `script` that takes our options */
export function needTerminal(): Needed {
  const { status } = spawnSync("script", ["-qec", "true", "/dev/null"], { stdio: "ignore" });
  return status === 0 ? { skip: false } : skipOrFail('no "script" here that opens a terminal: install bsdutils');
}

export interface Size {
  readonly rows: number;
  readonly columns: number;
}

export interface Terminal {
  /** What the program writes, escape sequences and all; `write` presses keys. */
  readonly program: Program;
  /** Give the terminal another size, as a window manager does. */
  resize(size: Size): Promise<void>;
}

/** `lovage …` in a terminal. */
export async function cliInTerminal(
  t: TestContext,
  args: readonly string[],
  { size, ...options }: ProgramOptions & { readonly size: Size },
): Promise<Terminal> {
  const command = [process.execPath, "--conditions=lovage-source", CLI, ...args].map(quoted).join(" ");
  const inside = `stty rows ${size.rows} cols ${size.columns}; echo "on $(tty)"; exec ${command}`;
  const program = new Program(t, "script", {
    ...options,
    env: { TERM: "xterm-256color", SHELL: "/bin/sh", ...options.env },
    args: ["-qec", inside, "/dev/null"],
    keepInput: true,
  });
  const [, tty = ""] = await program.waitForLine(/^on (\/dev\/\S+)/);
  return {
    program,
    async resize({ rows, columns }) {
      await run("stty", ["-F", tty, "rows", String(rows), "cols", String(columns)]);
    },
  };
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
