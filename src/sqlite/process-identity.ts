/**
 * Which process a pid means. A pid alone is used again by the next process; with the time its process started, and the boot of the
 * machine, it names one process for good.
 *
 * Linux tells both in /proc. Elsewhere they are empty: then a pid that exists is taken for alive, and a lease decides.
 * A process in another pid namespace (a container that shares the file) cannot be seen from here at all.
 */
import { readFileSync, readlinkSync } from "node:fs";

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, as text; empty where the system does not tell. */
  readonly started: string;
  /** The boot, and the pid namespace. */
  readonly boot: string;
}

export type Liveness = "alive" | "dead" | "unknown";

/** Fields of /proc/PID/stat behind the command's closing parenthesis. */
const STATE = 0;
const START_TIME = 19;

let boot: string | undefined;

/** Undefined: there is no such process, or only its remains. */
export function identify(pid: number): ProcessIdentity | undefined {
  if (!exists(pid)) return undefined;
  const fields = statFields(pid);
  if (fields === "gone") return undefined;
  return { pid, started: fields?.[START_TIME] ?? "", boot: bootId() };
}

/** Whether that very process still runs. Unknown: it cannot be seen from here. */
export function livenessOf(identity: ProcessIdentity): Liveness {
  const here = bootId();
  if (identity.boot !== here) {
    // Another boot: gone with it. The same boot, another namespace: nobody here can tell.
    return bootOf(identity.boot) === bootOf(here) || identity.boot === "" || here === "" ? "unknown" : "dead";
  }
  const now = identify(identity.pid);
  return now !== undefined && now.started === identity.started ? "alive" : "dead";
}

/** End that very process, if it still runs. */
export function endProcess(identity: ProcessIdentity): void {
  if (livenessOf(identity) !== "alive") return;
  try {
    process.kill(identity.pid, "SIGKILL");
  } catch {
    // Gone in this moment, or not ours to end: who asks looks at it again.
  }
}

function exists(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown && thrown.code === "EPERM";
  }
}

/** Undefined: this system has no /proc. "gone": a zombie holds nothing and runs nothing. */
function statFields(pid: number): readonly string[] | "gone" | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return bootId() === "" ? undefined : "gone";
  }
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields[STATE] === "Z" || fields[STATE] === "X" ? "gone" : fields;
}

function bootId(): string {
  boot ??= readBoot();
  return boot;
}

function readBoot(): string {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return "";
  }
}

function bootOf(id: string): string {
  return id.split(" ")[0] ?? "";
}
