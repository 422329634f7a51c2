/** The stores that are broken here: a URL for workers and client, and what can be done to what is behind it. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "../support/cleanup.ts";
import { startPostgres } from "../support/postgres.ts";
import { startRedis } from "../support/redis.ts";
import { mountSmallDisk, type SmallDisk } from "./small-disk.ts";

export const STORE_KINDS = ["sqlite", "redis", "postgres"] as const;
export type StoreKind = (typeof STORE_KINDS)[number];

export interface CrashStore {
  readonly kind: StoreKind;
  readonly url: string;
  /** What it was, for the report. */
  readonly note: string;
  /** A server of our own: kill it at once (kill -9, or what is as bad for it), and start it again on the same data. */
  readonly server?: {
    kill(): Promise<void>;
    /** Resolves when it answers. */
    start(): Promise<void>;
  };
  readonly disk?: SmallDisk;
}

/** What it starts or mounts is undone at the end of the test. @param folder where its data may lie; the caller removes it */
export async function openCrashStore(
  t: TestContext,
  kind: StoreKind,
  folder: string,
  { onSmallDisk = false }: { readonly onSmallDisk?: boolean } = {},
): Promise<CrashStore> {
  mkdirSync(folder, { recursive: true });
  switch (kind) {
    case "sqlite": {
      const disk = onSmallDisk ? mountSmallDisk(join(folder, "disk")) : undefined;
      const url = `sqlite:${join(disk?.folder ?? folder, "lovage.db")}`;
      const note = disk === undefined ? "SQLite, strict" : `SQLite, strict, on a disk of ${disk.sizeMiB} MiB`;
      if (disk === undefined) return { kind, url, note };
      atEnd(t, () => disk.unmount());
      return { kind, url, note, disk };
    }
    case "redis": {
      const server = await startRedis(t, "appendonly yes", "appendfsync always");
      return {
        kind,
        url: server.url,
        note: "Redis, AOF always",
        server: { kill: () => server.kill9(), start: () => server.start() },
      };
    }
    case "postgres": {
      const server = await startPostgres(t);
      return {
        kind,
        url: server.url,
        note: "PostgreSQL, synchronous_commit on",
        server: { kill: () => server.stop("immediate"), start: () => server.start() },
      };
    }
  }
}
