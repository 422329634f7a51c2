/** How long a process of the pool is waited for, ms. */

/** How long a child may take to leave when asked to, its `exit` listeners included. */
export const LEAVE_MS = 2_000;

/** What is aborted may take so long to heed the signal that follows its grace. */
export const SIGNAL_MS = 1_000;

/** How long the kernel may take to end what was killed. After SIGKILL no instruction of it runs, seen or not. */
export const KILL_MS = 5_000;
