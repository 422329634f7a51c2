/** How often a task may start: Celery's `rate_limit` (PROTOCOL 12.5). */
/** As Celery divides, step by step. */
const PER_SECOND = { s: (n: number) => n, m: (n: number) => n / 60, h: (n: number) => n / 60 / 60 } as const;

/** Starts a second; undefined: no limit. A number is so many a second; "10/s", "100/m", "1000/h". 0 and "" are no limit, as in Celery. */
export function startsPerSecond(rate: string | number | null | undefined, name = "rateLimit"): number | undefined {
  if (rate === undefined || rate === null || rate === "" || rate === 0 || rate === "0") return undefined;
  if (typeof rate === "number" && Number.isFinite(rate) && rate > 0) return rate;
  const [, count = "", unit] = typeof rate === "string" ? (/^(\d+(?:\.\d+)?)(?:\/([smh]?))?$/.exec(rate) ?? []) : [];
  if (count === "") {
    throw new TypeError(
      `${name} must be a number a second, or a text such as "10/s", "100/m" or "1000/h"; it was ${JSON.stringify(rate)}`,
    );
  }
  return PER_SECOND[(unit || "s") as keyof typeof PER_SECOND](Number(count)) || undefined;
}
