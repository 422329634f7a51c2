/** What is a cron pattern, and what is none. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseCronPattern } from "../../../../src/schedule/recurrence/cron-pattern.ts";
import { evaluatorNow, evaluatorOf } from "../../../../src/schedule/recurrence/rule.ts";

/** Its dates in a month, as numbers. */
function days(pattern: string, year: number, month: number): number[] {
  const bits = parseCronPattern(pattern).daysOf(year, month - 1);
  return Array.from({ length: 31 }, (_, i) => i + 1).filter((day) => (bits >> (day - 1)) & 1);
}

const JANUARY_2027 = [2027, 1] as const; // begins with a Friday, ends with a Sunday

describe("a cron pattern", () => {
  const table: [string, number[]][] = [
    ["0 0 1,15 * *", [1, 15]],
    ["0 0 L * *", [31]],
    ["0 0 LW * *", [29]],
    ["0 0 lw * *", [29]],
    ["0 0 2W * *", [1]],
    ["0 0 31W * *", [29]],
    ["0 0 L,1 * *", [1, 31]],
    ["0 0 10-20/5 * *", [10, 15, 20]],
    ["0 0 * * FRI#2", [8]],
    ["0 0 * * 5L", [29]],
    ["0 0 * JAN fri#5", [29]],
    ["0 0 * * 0", [3, 10, 17, 24, 31]],
    ["0 0 * * 7", [3, 10, 17, 24, 31]],
    ["0 0 * * SAT-SUN", [2, 3, 9, 10, 16, 17, 23, 24, 30, 31]],
    // Day of month or day of week, as cron has it …
    ["0 0 13 * FRI", [1, 8, 13, 15, 22, 29]],
    ["0 0 L * MON", [4, 11, 18, 25, 31]],
    // … unless one of them says nothing, in whatever words …
    ["0 0 ? * MON", [4, 11, 18, 25]],
    ["0 0 */1 * MON", [4, 11, 18, 25]],
    ["0 0 13 * ?", [13]],
    // … and both of them with a plus.
    ["0 0 1-7 * +MON", [4]],
    ["0 0 13 * +FRI", []],
    ["0 0 * 2 *", []],
  ];
  for (const [pattern, expected] of table) {
    test(`means these days of January 2027: ${pattern}`, () => {
      assert.deepEqual(days(pattern, ...JANUARY_2027), expected);
    });
  }

  test("has five fields, or six with seconds first, or a nickname; spaces of any kind between", () => {
    const read = (pattern: string) => {
      const { seconds, minutes, hours } = parseCronPattern(pattern);
      return [seconds, minutes, hours];
    };
    assert.deepEqual(read("5 4 * * *"), [[0], [5], [4]]);
    assert.deepEqual(read("*/20 5 4 * * *"), [[0, 20, 40], [5], [4]]);
    assert.deepEqual(read(" \t5\n4  * * *  "), [[0], [5], [4]]);
    assert.deepEqual(read("@Daily"), [[0], [0], [0]]);
    assert.equal(read("@hourly")[2]?.length, 24);
    for (const name of ["@yearly", "@annually", "@monthly", "@weekly", "@midnight"]) {
      assert.deepEqual(read(name), [[0], [0], [0]]);
    }
  });

  test("follows real time when its hours have a star in them, or are all 24", () => {
    const wild = (hours: string) => parseCronPattern(`0 ${hours} * * *`).followsRealTime;
    for (const hours of ["*", "*/2", "?", "0-23", "*/1", "*/12", "1,*/6"]) assert.equal(wild(hours), true, hours);
    for (const hours of ["3", "1-5", "0-22", "1-23/2", "*/23,0", "1,2,3"]) {
      assert.equal(wild(hours), hours.startsWith("*"), hours);
    }
  });
});

describe("what is no cron pattern", () => {
  const table: [string, RegExp][] = [
    [
      "",
      /^cron "" has 0 fields: use five \(minute, hour, day of month, month, day of week\), or six with seconds first$/,
    ],
    ["* * * *", /has 4 fields/],
    ["0 0 0 1 1 * 2027", /has 7 fields/],
    ["nonsense", /has 1 fields/],
    ["@reboot", /"@reboot" is no nickname that can be scheduled: use @yearly/],
    ["@every 5m", /is no nickname/],
    ["@constructor", /is no nickname/],
    ["60 * * * *", /^cron "60 \* \* \* \*": the field minute has "60" in it; use 0-59, and of these lists/],
    ["* 24 * * *", /the field hour has "24" in it/],
    ["* * 0 * *", /the field day of month has "0" in it; use 1-31, L/],
    ["* * 32 * *", /the field day of month/],
    ["* * * 13 *", /the field month has "13" in it; use 1-12, JAN-DEC/],
    ["* * * * 8", /the field day of week has "8" in it/],
    ["* * * * FRIDAY", /the field day of week has "friday" in it/],
    ["* * * * FRI#6", /the field day of week has "fri#6" in it/],
    ["* * * JANUARY *", /the field month/],
    ["5-1 * * * *", /the field minute has "5-1" in it; .*ranges upwards/],
    ["*/0 * * * *", /the field minute has "\*\/0" in it/],
    ["*/60 * * * *", /the field minute has "\*\/60" in it/],
    ["5/5 * * * *", /the field minute has "5\/5" in it/],
    ["/5 * * * *", /the field minute/],
    ["5* * * * *", /the field minute has "5\*" in it/],
    ["** * * * *", /the field minute/],
    ["1,,2 * * * *", /the field minute has "" in it/],
    ["-1 * * * *", /the field minute/],
    ["1.5 * * * *", /the field minute/],
    ["0x1 * * * *", /the field minute/],
    ["MON * * * *", /the field minute/],
    ["* * 1W5 * *", /the field day of month/],
    ["* * LW,3 * *", /the field day of month has "lw" in it; .*LW alone/],
    ["* * * * +", /the field day of week/],
    ["0 9 * * 1\u20135", /the field day of week has "1\u20135" in it/],
    ["０ 9 * * *", /the field minute has "０" in it/],
    ["0 9 * * \u{1f600}", /the field day of week/],
    [`0 9 * * ${"1,".repeat(1_000)}1`, /is longer than 256 characters: use ranges and steps$/],
    [
      "0 0 30 2 *",
      /^cron "0 0 30 2 \*" never comes: no date has day of month "30", month "2" and day of week "\*"; correct the day or the month$/,
    ],
    ["0 0 31 2,4,6,9,11 *", /never comes/],
    ["0 0 31W 2 *", /never comes/],
    ["0 0 1 1 +MON#5", /never comes/],
  ];
  for (const [pattern, message] of table) {
    test(`is refused: ${JSON.stringify(pattern.slice(0, 40))}`, async () => {
      const rule = { kind: "cron", cron: pattern, timezone: "UTC" } as const;
      await assert.rejects(evaluatorOf({ rule }), { code: "ERR_INVALID_INPUT", message });
    });
  }

  test("is anything but a text", () => {
    for (const cron of [undefined, null, 5, {}, ["* * * * *"]]) {
      const rule = { kind: "cron", cron: cron as unknown as string, timezone: "UTC" } as const;
      assert.throws(() => evaluatorNow({ rule }), {
        code: "ERR_INVALID_INPUT",
        message: /^cron must be a text such as/,
      });
    }
  });

  test("is refused with one line that cannot forge another", () => {
    const rule = { kind: "cron", cron: "0 9 * * \u0000\u202e\u001b[31m", timezone: "UTC" } as const;
    assert.throws(
      () => evaluatorNow({ rule }),
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
      ({ message }: Error) => !/[\u0000-\u001f\u202e]/.test(message),
    );
  });
});
