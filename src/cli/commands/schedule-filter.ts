/** The flags that say which callbacks are meant; the same for `list` and `cancel-all`. */
import type { Command } from "commander";
import { type CallbackFilter, narrows } from "../../app/schedule-find.ts";
import { InvalidInputError } from "../../kit/errors.ts";
import { CALLBACK_STATES, type CallbackState } from "../../schedule/callback.ts";
import { commaList } from "./worker.ts";

const STATES: readonly string[] = CALLBACK_STATES;

export interface FilterFlags {
  readonly state?: string[];
  readonly task?: string;
  readonly keyPrefix?: string;
  readonly tag?: string[];
  readonly queue?: string;
  readonly recurrence?: string;
  readonly dueFrom?: string;
  readonly dueBefore?: string;
  readonly timezone?: string;
}

export function addFilterFlags(command: Command): Command {
  return command
    .option("--state <states>", `states, separated by commas: ${STATES.join(", ")}`, commaList)
    .option("--task <pattern>", "task name; * stands for any characters")
    .option("--key-prefix <text>", "keys that begin with it")
    .option("--tag <tags>", "tags that it must all carry, separated by commas", commaList)
    .option("--queue <name>", "queue of its task")
    .option("--recurrence <ref>", "occurrences of this recurrence: its id or its key")
    .option("--due-from <moment>", "due then or later: ISO 8601 with offset, or with --timezone")
    .option("--due-before <moment>", "due before then")
    .option("--timezone <zone>", "IANA zone of moments without offset");
}

/** @throws {InvalidInputError} there is no such state, or a text is empty: a shell variable that was not set, say */
export function filterOf(flags: FilterFlags): CallbackFilter {
  const { state, task, keyPrefix, tag, queue, recurrence, dueFrom, dueBefore, timezone } = flags;
  for (const [name, value] of Object.entries({ state, task, "key-prefix": keyPrefix, tag, queue, recurrence })) {
    if (value === "" || (Array.isArray(value) && value.includes(""))) {
      throw new InvalidInputError(`--${name} is empty: give a value, or leave it out`);
    }
  }
  for (const each of state ?? []) {
    if (!STATES.includes(each)) {
      throw new InvalidInputError(`--state ${JSON.stringify(each)} is none: use ${STATES.join(", ")}`);
    }
  }
  return {
    ...(state === undefined ? {} : { states: state as CallbackState[] }),
    ...(task === undefined ? {} : { task }),
    ...(keyPrefix === undefined ? {} : { keyPrefix }),
    ...(tag === undefined ? {} : { tags: tag }),
    ...(queue === undefined ? {} : { queue }),
    ...(recurrence === undefined ? {} : { recurrence }),
    ...(dueFrom === undefined ? {} : { dueFrom }),
    ...(dueBefore === undefined ? {} : { dueBefore }),
    ...(timezone === undefined ? {} : { timezone }),
  };
}

/** @throws {InvalidInputError} nothing says which are meant, or two things that contradict each other */
export function refuseTheUnclear(filter: CallbackFilter, everything: boolean): void {
  const narrow = narrows(filter);
  if (everything && narrow)
    throw new InvalidInputError("--everything was given with a filter; give the one that is meant");
  if (everything || narrow) return;
  throw new InvalidInputError(
    "cancel-all needs to be told which: --task, --tag, --key-prefix, --queue, --recurrence, --due-from, --due-before, or --everything",
  );
}
