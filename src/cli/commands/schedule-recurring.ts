/** `lovage schedule recurrences|pause|resume`: what recurs. */
import { Command } from "commander";
import { showMs } from "../../kit/duration.ts";
import { InvalidInputError } from "../../kit/errors.ts";
import type { Recurrence, RecurrenceState } from "../../schedule/recurrence.ts";
import {
  callText,
  fromNow,
  iso,
  printFields,
  printJson,
  printLine,
  printTable,
  recurrenceJson,
  ruleText,
} from "../render.ts";
import { withApp } from "../with-app.ts";
import { commaList, positiveNumber } from "./worker.ts";

const STATES: readonly string[] = ["active", "paused", "ended"] satisfies RecurrenceState[];

interface RecurrencesFlags {
  readonly state?: string[];
  readonly limit: number;
  readonly json?: boolean;
}

export function recurrencesCommand(): Command {
  return new Command("recurrences")
    .description("what recurs, in the order it was added; active and paused, unless --state says otherwise")
    .option("--state <states>", `states, separated by commas: ${STATES.join(", ")}`, commaList)
    .option("--limit <n>", "print so many at most", positiveNumber, 100)
    .option("--json", "print JSON, one object a line")
    .action(({ state, limit, json }: RecurrencesFlags, command: Command) =>
      withApp(command, async (app) => {
        const states = state?.map(stateOf);
        const nowMs = app.clock.wallMs();
        const rows: string[][] = [];
        let count = 0;
        let more = false;
        for await (const each of app.schedule.recurrences(states === undefined ? {} : { states })) {
          if (count === limit) {
            more = true;
            break;
          }
          count += 1;
          if (json === true) printJson(recurrenceJson(each));
          else rows.push(rowOf(each, nowMs));
        }
        if (json !== true) {
          if (rows.length === 0) printLine("no recurrences");
          else printTable(["id", "key", "state", "next", "", "rule", "call"], rows);
        }
        if (more) process.stderr.write(`… there are more; --limit ${limit} was reached\n`);
      }),
    );
}

export function pauseCommand(): Command {
  return new Command("pause")
    .description("let a recurrence have no further occurrence until it is resumed")
    .argument("<ref>", "its id or its key")
    .option("--json", "print JSON")
    .action((ref: string, flags: { json?: boolean }, command: Command) =>
      withApp(command, async (app) => {
        const changed = await app.schedule.pause(ref);
        if (flags.json === true) printJson({ ref, state: "paused", changed });
        else printLine(changed ? "paused" : "was paused already");
      }),
    );
}

export function resumeCommand(): Command {
  return new Command("resume")
    .description("let a paused recurrence go on from now; prints its next time")
    .argument("<ref>", "its id or its key")
    .option("--json", "print JSON")
    .action((ref: string, flags: { json?: boolean }, command: Command) =>
      withApp(command, async (app) => {
        const next = (await app.schedule.resume(ref))?.toISOString();
        if (flags.json === true) printJson({ ref, state: next === undefined ? "ended" : "active", next: next ?? null });
        else printLine(next ?? "it has ended: its rule has no further time");
      }),
    );
}

export function printRecurrence(recurrence: Recurrence, nowMs: number): void {
  const { nextMs, definition, ...rest } = recurrence;
  const { fromMs, untilMs, misfire, overlap, jitterMs, call } = definition;
  printFields([
    ["id", rest.id],
    ["key", rest.key ?? null],
    ["state", rest.state],
    ["rule", ruleText(definition.rule)],
    ["from", iso(fromMs)],
    ["until", iso(untilMs)],
    ["next", nextMs === undefined ? null : `${String(iso(nextMs))} (${fromNow(nextMs, nowMs)})`],
    ["call", callText(call)],
    ["queue", call.queue],
    ["tags", call.tags.length === 0 ? null : call.tags.join(", ")],
    ["misfire", misfireText(misfire)],
    ["overlap", overlap],
    ["jitter", jitterMs === 0 ? null : `up to ${showMs(jitterMs)}`],
    ["expires", call.expiresAfterMs === undefined ? null : `${showMs(call.expiresAfterMs)} after its time`],
    ["onLost", call.onLost],
    ["generation", String(rest.generation)],
    ["created", iso(rest.createdMs)],
    ["ended", iso(rest.endedMs)],
  ]);
}

function misfireText(misfire: Recurrence["definition"]["misfire"]): string {
  if (misfire.kind === "skip") return `skip, later than ${showMs(misfire.graceMs)}`;
  return misfire.kind === "all" ? `all, the newest ${misfire.limit}` : misfire.kind;
}

function rowOf({ id, key = "", state, nextMs, definition }: Recurrence, nowMs: number): string[] {
  const [next, when] = nextMs === undefined ? ["", ""] : [new Date(nextMs).toISOString(), fromNow(nextMs, nowMs)];
  return [id, key, state, next, when, ruleText(definition.rule), callText(definition.call)];
}

function stateOf(text: string): RecurrenceState {
  if (STATES.includes(text)) return text as RecurrenceState;
  throw new InvalidInputError(`--state ${JSON.stringify(text)} is none of a recurrence: use ${STATES.join(", ")}`);
}
