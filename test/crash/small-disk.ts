/** A small disk (tmpfs) that can be filled to its last byte. Mounting needs root on Linux. */
import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";

export interface SmallDisk {
  readonly folder: string;
  readonly sizeMiB: number;
  /** Until so many bytes are left; 0: until nothing more can be written. */
  fill(leaveBytes: number): void;
  free(): void;
  /** Twice is once. Also done when this process ends in any way but kill -9. */
  unmount(): void;
}

const SIZE_MIB = 64;
const FILLER = "filler";
const PIECE = Buffer.alloc(1 << 20);

/** Why none can be mounted here; undefined: it can. */
export function whyNoSmallDisk(): string | undefined {
  if (process.platform !== "linux") return "a small disk is mounted on Linux only";
  return process.getuid?.() === 0 ? undefined : "mounting a small disk needs root";
}

/** @throws {Error} it could not be mounted */
export function mountSmallDisk(folder: string): SmallDisk {
  mkdirSync(folder, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${SIZE_MIB}m`, "tmpfs", folder]);
  let mounted = true;
  const unmount = () => {
    if (!mounted) return;
    mounted = false;
    process.off("exit", unmount);
    // Lazily: a process that was just killed may still have the file open for a moment.
    execFileSync("umount", ["-l", folder]);
  };
  process.on("exit", unmount);
  const filler = join(folder, FILLER);
  return {
    folder,
    sizeMiB: SIZE_MIB,
    fill(leaveBytes) {
      const file = openSync(filler, "a");
      const { bavail, bsize } = statfsSync(folder);
      if (leaveBytes > 0) {
        ftruncateSync(file, 0);
        for (let left = bavail * bsize - leaveBytes; left > 0; left -= PIECE.length)
          fits(file, PIECE.subarray(0, left));
        closeSync(file);
        return;
      }
      // Ever smaller pieces: the last byte is what fills it.
      for (let bytes = PIECE.length; bytes >= 1; bytes >>= 2) while (fits(file, PIECE.subarray(0, bytes)));
      closeSync(file);
    },
    free: () => rmSync(filler, { force: true }),
    unmount,
  };
}

function fits(file: number, piece: Buffer): boolean {
  try {
    return writeSync(file, piece) === piece.length;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") return false;
    throw error;
  }
}
