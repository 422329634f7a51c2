/**
 * Processes of one test run, found by a variable in their environment: every descendant inherits it, also one that
 * made itself a session of its own. Only Linux shows another process's environment; elsewhere none is found.
 */
import { readdirSync, readFileSync } from "node:fs";

export interface TaggedProcess {
  readonly pid: number;
  readonly command: string;
}

/** The variable that tags every process of a run. */
export const RUN_VARIABLE = "LOVAGE_TEST_RUN";

export function processesOfRun(run: string): TaggedProcess[] {
  const wanted = `${RUN_VARIABLE}=${run}`;
  const found: TaggedProcess[] = [];
  for (const name of entriesOfProc()) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      if (!readFileSync(`/proc/${name}/environ`, "latin1").split("\0").includes(wanted)) continue;
      const command = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0").join(" ").trim();
      if (command !== "") found.push({ pid, command });
    } catch {
      // It is another user's, or it ended between the two looks.
    }
  }
  return found;
}

export function killProcesses(processes: readonly TaggedProcess[]): void {
  for (const { pid } of processes) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It ended by itself.
    }
  }
}

function entriesOfProc(): string[] {
  try {
    return readdirSync("/proc");
  } catch {
    return [];
  }
}
