/** The schedule of a URL, for the measurements of a fleet: durable to power loss where the store can be. */
import type { ScheduleStore } from "../src/schedule/store.ts";

export async function openAt(url: string): Promise<ScheduleStore> {
  if (url.startsWith("redis:")) {
    const { openRedisSchedule } = await import("../src/schedule/stores/redis.ts");
    return openRedisSchedule(url);
  }
  if (url.startsWith("postgres")) {
    const { openPostgresSchedule } = await import("../src/schedule/stores/postgres.ts");
    return openPostgresSchedule(url);
  }
  const { openSqliteSchedule } = await import("../src/schedule/stores/sqlite.ts");
  return openSqliteSchedule(url.replace(/^sqlite:/, ""));
}
