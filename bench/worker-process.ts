/** A worker in a process of its own, measured from outside. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const ROOT = join(import.meta.dirname, "..");

export class WorkerProcess {
  readonly #process: ChildProcess;
  readonly ready: Promise<void>;

  constructor(env: Record<string, string>, args: readonly string[]) {
    this.#process = spawn(
      process.execPath,
      [
        "--conditions=lovage-source",
        join(ROOT, "src/cli/main.ts"),
        "-A",
        join(import.meta.dirname, "tasks.ts"),
        "worker",
        "-l",
        "warning",
        ...args,
      ],
      { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] },
    );
    let lastLine = "";
    this.ready = new Promise((resolve, reject) => {
      this.#process.once("exit", (code) => reject(new Error(`the worker ended with status ${code}: ${lastLine}`)));
      for (const stream of [this.#process.stdout, this.#process.stderr]) {
        if (stream === null) continue;
        createInterface({ input: stream }).on("line", (line) => {
          lastLine = line;
          if (/ ready\.$/.test(line)) resolve();
        });
      }
    });
  }

  /** Resident memory, MB: of the main process, and of its children together. */
  rssMb(): { main: number; children: number } {
    const main = this.#process.pid ?? 0;
    let children = 0;
    for (const entry of readdirSync("/proc")) {
      if (!/^\d+$/.test(entry)) continue;
      try {
        const status = readFileSync(`/proc/${entry}/status`, "utf8");
        if (Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]) === main) children += vmRssMb(status);
      } catch {
        // It ended meanwhile.
      }
    }
    return { main: vmRssMb(readFileSync(`/proc/${main}/status`, "utf8")), children };
  }

  /** Seconds of CPU that the main process used so far. */
  cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.#process.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const exited = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    await exited;
  }
}

function vmRssMb(status: string): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1_024;
}
