/** Whether there is a process of this pid (a zombie that its parent has not fetched counts as one). */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
