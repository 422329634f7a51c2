/**
 * What cron patterns mean, worked out by looking at every minute: written from the words of docs/decisions/recurrence-rules.md, without a line of
 * what it checks. Slow, and so simple that it is right.
 */
import fc from "fast-check";

export const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** Zones and days around which their clocks are changed: by one hour and by others, at night and at midnight, and over a whole day. */
export const CHANGES: readonly (readonly [zone: string, day: string])[] = [
  ["Europe/Berlin", "2027-03-28"],
  ["Europe/Berlin", "2027-10-31"],
  ["America/New_York", "2026-03-08"],
  ["America/New_York", "2026-11-01"],
  ["America/Sao_Paulo", "2018-11-04"], // 00:00 -> 01:00
  ["America/Sao_Paulo", "2018-02-17"], // 24:00 -> 23:00
  ["America/Havana", "2026-03-08"], // 00:00 -> 01:00
  ["America/Havana", "2026-11-01"], // 01:00 -> 00:00
  ["Africa/Cairo", "2024-04-26"], // 00:00 -> 01:00
  ["Africa/Cairo", "2024-10-31"], // 24:00 -> 23:00
  ["Africa/Casablanca", "2024-03-10"], // 03:00 -> 02:00, for Ramadan
  ["Africa/Casablanca", "2024-04-14"],
  ["Australia/Lord_Howe", "2027-10-03"], // 02:00 -> 02:30
  ["Australia/Lord_Howe", "2027-04-04"], // 02:00 -> 01:30
  ["Pacific/Apia", "2011-12-30"], // a day that never was
  ["Pacific/Kwajalein", "1993-08-21"], // another
  ["Pacific/Apia", "2012-04-01"],
  ["Antarctica/Troll", "2026-03-29"], // by two hours
  ["Antarctica/Troll", "2026-10-25"],
  ["Asia/Pyongyang", "2015-08-15"], // by half an hour, for good
  ["Asia/Pyongyang", "2018-05-05"],
  ["America/Caracas", "2016-05-01"],
  ["America/St_Johns", "2007-03-11"], // at one minute past midnight
  ["America/St_Johns", "2007-11-04"],
  ["Europe/Dublin", "2027-03-28"], // negative summer time
  ["Asia/Kathmandu", "2027-03-28"], // no change, at :45
  ["Pacific/Chatham", "2027-04-04"],
  ["America/Godthab", "2024-03-31"], // the evening before
  ["Asia/Gaza", "2026-03-28"],
  ["UTC", "2028-02-29"],
];

export interface Pattern {
  readonly text: string;
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  /** By what the hour field looks like: a star in it, or all hours. */
  readonly wild: boolean;
  readonly date: (year: number, month: number, day: number) => boolean;
}

/** A field and the numbers that it names: made together, so that nothing has to be parsed here. */
function field(min: number, max: number): fc.Arbitrary<{ text: string; numbers: number[] }> {
  const all = Array.from({ length: max - min + 1 }, (_, i) => i + min);
  const number = fc.integer({ min, max });
  const range = fc.tuple(number, number).map((pair) => pair.toSorted((a, b) => a - b) as [number, number]);
  const item = fc.oneof(
    { weight: 4, arbitrary: number.map((each) => ({ text: `${each}`, numbers: [each] })) },
    fc.integer({ min: 2, max: Math.floor(max / 2) }).map((step) => ({
      text: `*/${step}`,
      numbers: all.filter((each) => (each - min) % step === 0),
    })),
    range.map(([low, high]) => ({
      text: `${low}-${high}`,
      numbers: all.filter((each) => each >= low && each <= high),
    })),
    fc.tuple(range, fc.integer({ min: 1, max: 7 })).map(([[low, high], step]) => ({
      text: `${low}-${high}/${step}`,
      numbers: all.filter((each) => each >= low && each <= high && (each - low) % step === 0),
    })),
  );
  return fc.oneof(
    { weight: 2, arbitrary: fc.constant({ text: "*", numbers: all }) },
    fc.array(item, { minLength: 1, maxLength: 3 }).map((items) => ({
      text: items.map((each) => each.text).join(","),
      numbers: [...new Set(items.flatMap((each) => each.numbers))],
    })),
  );
}

interface DateField {
  readonly text: string;
  readonly fits: (year: number, month: number, day: number) => boolean;
}

const lastOf = (year: number, month: number) => new Date(Date.UTC(year, month, 0)).getUTCDate();
const weekdayOf = (year: number, month: number, day: number) => new Date(Date.UTC(year, month - 1, day)).getUTCDay();
/** The weekday nearest to the day, without leaving its month. */
function nearestWeekday(year: number, month: number, day: number): number {
  const isWorkday = (each: number) => ![0, 6].includes(weekdayOf(year, month, each));
  const candidates = [0, -1, 1, -2, 2].map((by) => day + by).filter((each) => each >= 1 && each <= lastOf(year, month));
  return candidates.find(isWorkday) ?? day;
}

const dayOfMonth: fc.Arbitrary<DateField> = fc.oneof(
  {
    weight: 4,
    arbitrary: field(1, 31).map<DateField>(({ text, numbers }) => ({
      text,
      fits: (_y, _m, day) => numbers.includes(day),
    })),
  },
  fc.constant<DateField>({ text: "L", fits: (year, month, day) => day === lastOf(year, month) }),
  fc.constant<DateField>({
    text: "LW",
    fits: (year, month, day) => {
      const last = lastOf(year, month);
      const weekday = weekdayOf(year, month, last);
      return day === last - (weekday === 0 ? 2 : weekday === 6 ? 1 : 0);
    },
  }),
  fc.integer({ min: 1, max: 31 }).map<DateField>((of) => ({
    text: `${of}W`,
    fits: (year, month, day) => of <= lastOf(year, month) && day === nearestWeekday(year, month, of),
  })),
);

const dayOfWeek: fc.Arbitrary<DateField> = fc.oneof(
  {
    weight: 4,
    arbitrary: field(0, 6).map<DateField>(({ text, numbers }) => ({
      text,
      fits: (year, month, day) => numbers.includes(weekdayOf(year, month, day)),
    })),
  },
  fc.constant<DateField>({ text: "MON-FRI", fits: (...date) => ![0, 6].includes(weekdayOf(...date)) }),
  fc.constant<DateField>({ text: "5-7", fits: (...date) => [5, 6, 0].includes(weekdayOf(...date)) }),
  fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 1, max: 5 })).map<DateField>(([weekday, nth]) => ({
    text: `${weekday}#${nth}`,
    fits: (year, month, day) => weekdayOf(year, month, day) === weekday && Math.ceil(day / 7) === nth,
  })),
  fc.integer({ min: 0, max: 6 }).map<DateField>((weekday) => ({
    text: `${weekday}L`,
    fits: (year, month, day) => weekdayOf(year, month, day) === weekday && day + 7 > lastOf(year, month),
  })),
);

const star: DateField = { text: "*", fits: () => true };
const often = <T>(usual: T, other: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, { weight: 2, arbitrary: other });

/** Patterns of five fields; some of them never come. */
export const patterns: fc.Arbitrary<Pattern> = fc
  .record({
    minute: field(0, 59),
    hour: field(0, 23),
    dayOfMonth: often(star, dayOfMonth),
    month: often({ text: "*", numbers: Array.from({ length: 12 }, (_, i) => i + 1) }, field(1, 12)),
    dayOfWeek: often(star, dayOfWeek),
    both: fc.boolean(),
  })
  .map(({ minute, hour, dayOfMonth: dom, month, dayOfWeek: dow, both }) => {
    const either = !both && dom.text !== "*" && dow.text !== "*";
    return {
      text: `${minute.text} ${hour.text} ${dom.text} ${month.text} ${both ? "+" : ""}${dow.text}`,
      minutes: new Set(minute.numbers),
      hours: new Set(hour.numbers),
      wild: /(^|,)\*/.test(hour.text) || hour.numbers.length === 24,
      date: (year, of, day) =>
        month.numbers.includes(of) &&
        (either
          ? dom.fits(year, of, day) || dow.fits(year, of, day)
          : dom.fits(year, of, day) && dow.fits(year, of, day)),
    };
  });

const read = new Map<string, readonly number[]>();

/** What the clocks show at each minute of the four days from `fromMs` on, as if it were UTC; asked of Intl one by one. */
export function readingsOf(zone: string, fromMs: number): readonly number[] {
  const name = `${zone} ${fromMs}`;
  const readings = read.get(name) ?? askIntl(zone, fromMs, 4);
  read.set(name, readings);
  return readings;
}

function askIntl(zone: string, fromMs: number, days: number): number[] {
  const format = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  return Array.from({ length: days * 1_440 }, (_, i) => {
    const parts = new Map(format.formatToParts(fromMs + i * MINUTE_MS).map(({ type, value }) => [type, Number(value)]));
    const get = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? 0;
    return Date.UTC(get("year"), get("month") - 1, get("day"), get("hour"), get("minute"), get("second"));
  });
}

/** Every occurrence in the window, but for its first day, whose past is not known. */
export function occurrencesOf(pattern: Pattern, fromMs: number, readings: readonly number[]): number[] {
  const fits = (reading: number) => {
    const date = new Date(reading);
    return (
      pattern.minutes.has(date.getUTCMinutes()) &&
      pattern.hours.has(date.getUTCHours()) &&
      pattern.date(date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate())
    );
  };
  const found: number[] = [];
  let latest = readings[0] ?? 0;
  for (const [i, reading] of readings.entries()) {
    if (pattern.wild) {
      if (fits(reading)) found.push(fromMs + i * MINUTE_MS);
    } else {
      // All the readings that the clocks have come to, or jumped over, with this minute.
      let any = false;
      for (let each = latest + MINUTE_MS; each <= reading; each += MINUTE_MS) any ||= fits(each);
      if (any) found.push(fromMs + i * MINUTE_MS);
      latest = Math.max(latest, reading);
    }
  }
  return found.filter((ms) => ms >= fromMs + DAY_MS);
}
