/** How much memory a process has, as the kernel says. */
import { readFileSync } from "node:fs";

/** KiB; 0 where it cannot be known. */
export function residentKib(pid: number | undefined): number {
  try {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
