/** Runs programs one after the other, with their output on ours, until a deadline or a signal stops it all. */
import { type ChildProcess, spawn } from "node:child_process";

const KILL_MS = 15_000;

export class Programs {
  readonly #deadlineMs: number;
  readonly #began = performance.now();
  #child: ChildProcess | undefined;
  #stopReason: string | undefined;

  constructor(deadlineMs: number) {
    this.#deadlineMs = deadlineMs;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        if (this.stopped) process.exit(1); // asked twice: the keepers clear away
        this.#stop(`stopped by ${signal}`);
      });
    }
  }

  get stopped(): boolean {
    return this.#stopReason !== undefined;
  }

  get stopReason(): string {
    return this.#stopReason ?? "not stopped";
  }

  /** The exit status; null when a signal ended it, or it could not be started. */
  async run(command: string, args: readonly string[], env: Record<string, string>): Promise<{ status: number | null }> {
    const leftMs = Math.max(0, this.#deadlineMs - (performance.now() - this.#began));
    const deadline = setTimeout(() => {
      this.#stop(`not done after ${this.#deadlineMs / 1000} s (LOVAGE_TEST_DEADLINE): see "Interrupted while running"`);
    }, leftMs);
    const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit"], env });
    this.#child = child;
    try {
      const status = await new Promise<number | null>((resolve) => {
        child.once("error", (error) => {
          console.error(error.message);
          resolve(null);
        });
        child.once("exit", resolve);
      });
      return { status };
    } finally {
      clearTimeout(deadline);
      this.#child = undefined;
    }
  }

  /** The runner, told to end, says what it was running and ends its files. */
  #stop(reason: string): void {
    this.#stopReason ??= reason;
    const child = this.#child;
    child?.kill("SIGTERM");
    setTimeout(() => child?.kill("SIGKILL"), KILL_MS).unref();
  }
}
