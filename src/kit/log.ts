/**
 * The log: Celery's levels and, as text, Celery's line, so that what reads a Celery worker's log reads ours.
 *
 * One entry is one line; a stack (at level debug) and a task's traceback stand indented below it. Everything goes through
 * `printable`: no password, no control character, no field longer than 2 KiB. Logging never throws: what cannot be written
 * harms nothing else.
 * pino does the JSON form and the writing; it knows broken pipes, full pipes and how to flush at exit.
 */
import { pino } from "pino";
import { type Clock, systemClock } from "./clock.ts";
import { InvalidInputError } from "./errors.ts";
import { MAX_FIELD_CHARS, plainOf, printable, textOf } from "./printable.ts";
import { isSecretName } from "./redact.ts";

export type LogLevel = "debug" | "info" | "warning" | "error" | "critical";
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  readonly level: LogLevel;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  critical(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to each of its entries. */
  child(fields: LogFields): Logger;
  /** Ask before work that is only for the log. */
  isEnabled(level: LogLevel): boolean;
}

export interface LoggerOptions {
  /** Least level that is written: debug, info, warning (or warn), error, critical, in any case. Default "info". */
  readonly level?: string;
  /** Name in each line. Default "MainProcess", as Celery has it. */
  readonly process?: string;
  /** Where an entry goes, without its newline. Default: standard error. */
  readonly destination?: (line: string) => void;
  /** One JSON object a line instead of Celery's text. */
  readonly json?: boolean;
  /** Colour the level's name. */
  readonly color?: boolean;
  readonly clock?: Pick<Clock, "wallMs">;
}

interface LevelTraits {
  readonly rank: number;
  readonly label: string;
  readonly color: string;
}

const LEVELS: Readonly<Record<LogLevel, LevelTraits>> = {
  debug: { rank: 10, label: "DEBUG", color: "\u001b[34m" },
  info: { rank: 20, label: "INFO", color: "\u001b[32m" },
  warning: { rank: 30, label: "WARNING", color: "\u001b[33m" },
  error: { rank: 40, label: "ERROR", color: "\u001b[31m" },
  critical: { rank: 50, label: "CRITICAL", color: "\u001b[35m" },
};
const ALIASES: Readonly<Record<string, LogLevel>> = { warn: "warning", fatal: "critical" };
const MAX_STACK_LINES = 50;
const RESET = "\u001b[0m";
/** Names of the JSON form's own fields. */
const TAKEN = new Set(["level", "time", "process", "pid", "message"]);
/** A field's text that needs no quotes. */
const BARE = /^[^\s"=]+$/;

/** @throws {InvalidInputError} no such level */
export function parseLogLevel(text: string, what = "log level"): LogLevel {
  const name = text.trim().toLowerCase();
  const level = ALIASES[name] ?? name;
  if (Object.hasOwn(LEVELS, level)) return level as LogLevel;
  throw new InvalidInputError(
    `${what} ${JSON.stringify(text)} is none: use ${Object.keys(LEVELS).slice(0, -1).join(", ")} or critical`,
  );
}

/** @throws {InvalidInputError} no such level */
export function createLogger(options: LoggerOptions = {}): Logger {
  const level = parseLogLevel(options.level ?? "info");
  const clock = options.clock ?? systemClock;
  const name = printable(options.process ?? "MainProcess", 80);
  const write = options.destination ?? writeToStderr;
  const sink =
    options.json === true ? jsonSink(write, clock, name) : textSink(write, clock, name, options.color === true);
  return new SinkLogger(sink, level, {});
}

/** Writes nothing. */
export const silentLogger: Logger = {
  level: "critical",
  debug() {},
  info() {},
  warn() {},
  error() {},
  critical() {},
  child: () => silentLogger,
  isEnabled: () => false,
};

type Sink = (level: LogLevel, message: string, fields: LogFields, stacks: boolean) => void;

class SinkLogger implements Logger {
  readonly level: LogLevel;
  readonly #sink: Sink;
  readonly #rank: number;
  readonly #fields: LogFields;

  constructor(sink: Sink, level: LogLevel, fields: LogFields) {
    this.#sink = sink;
    this.level = level;
    this.#rank = LEVELS[level].rank;
    this.#fields = fields;
  }

  debug(message: string, fields?: LogFields): void {
    if (this.#rank <= 10) this.#write("debug", message, fields);
  }

  info(message: string, fields?: LogFields): void {
    if (this.#rank <= 20) this.#write("info", message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    if (this.#rank <= 30) this.#write("warning", message, fields);
  }

  error(message: string, fields?: LogFields): void {
    if (this.#rank <= 40) this.#write("error", message, fields);
  }

  critical(message: string, fields?: LogFields): void {
    this.#write("critical", message, fields);
  }

  child(fields: LogFields): Logger {
    return new SinkLogger(this.#sink, this.level, { ...this.#fields, ...fields });
  }

  isEnabled(level: LogLevel): boolean {
    return LEVELS[level].rank >= this.#rank;
  }

  #write(level: LogLevel, message: string, fields: LogFields | undefined): void {
    try {
      const all = fields === undefined ? this.#fields : { ...this.#fields, ...fields };
      this.#sink(level, message, all, this.level === "debug");
    } catch {
      // The destination is gone. There is nowhere left to say so.
    }
  }
}

/** `[2026-11-22 18:54:00,123: INFO/MainProcess] message key=value` */
function textSink(write: (line: string) => void, clock: Pick<Clock, "wallMs">, name: string, color: boolean): Sink {
  let second = Number.NaN;
  let shown = "";
  return (level, message, fields, stacks) => {
    const wallMs = clock.wallMs();
    if (Math.floor(wallMs / 1_000) !== second) {
      second = Math.floor(wallMs / 1_000);
      shown = localSecond(wallMs);
    }
    const { label, color: paint } = LEVELS[level];
    const ms = String(wallMs - second * 1_000).padStart(3, "0");
    const run = runOf(fields);
    let line = `[${shown},${ms}: ${color ? paint + label + RESET : label}/${name}] ${run}${printable(message)}`;
    let after = "";
    for (const key of Object.keys(fields)) {
      const value = shownValue(key, fields[key]);
      if (value === undefined || (run !== "" && (key === "task" || key === "id"))) continue;
      if (key === "traceback" && typeof value === "string") {
        after += indented(value.split("\n"));
        continue;
      }
      const text = textOf(value);
      line += ` ${printable(key, 80)}=${typeof value !== "string" && !(value instanceof Error) ? text : quoted(text)}`;
      if (stacks) after += stackOf(value);
    }
    write(line + after);
  };
}

function shownValue(key: string, value: unknown): unknown {
  return value !== undefined && isSecretName(key) ? "**" : value;
}

/** What a text field looks like: in quotes where its end could not be told without. */
function quoted(text: string): string {
  return BARE.test(text) ? text : `"${text.replaceAll('"', '\\"')}"`;
}

/** `demo.foo[id]: ` in front of what a task logs, as Celery's task logger has it. */
function runOf({ task, id }: LogFields): string {
  return typeof task === "string" && typeof id === "string" ? `${printable(task)}[${printable(id)}]: ` : "";
}

function stackOf(value: unknown): string {
  return indented(frames(value));
}

/** On lines of their own, indented, so that none of them can look like an entry. */
function indented(lines: readonly string[]): string {
  return lines
    .slice(0, MAX_STACK_LINES)
    .map((each) => `\n    ${printable(each.trimEnd(), 400)}`)
    .join("");
}

function frames(value: unknown): string[] {
  if (!(value instanceof Error) || typeof value.stack !== "string") return [];
  const lines = value.stack.split("\n").filter((line) => /^\s+at /.test(line));
  return lines.slice(0, MAX_STACK_LINES).map((line) => printable(line.trim(), 400));
}

function localSecond(wallMs: number): string {
  const at = new Date(wallMs);
  const two = (value: number) => String(value).padStart(2, "0");
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** `{"level":"INFO","time":"…Z","process":"MainProcess","pid":1,"key":"value","message":"…"}` */
function jsonSink(write: (line: string) => void, clock: Pick<Clock, "wallMs">, name: string): Sink {
  const logger = pino(
    {
      level: "debug",
      customLevels: { warning: 31, critical: 60 },
      base: { process: name, pid: process.pid },
      messageKey: "message",
      timestamp: () => `,"time":"${new Date(clock.wallMs()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label.toUpperCase() }) },
    },
    { write: (line: string) => write(line.endsWith("\n") ? line.slice(0, -1) : line) },
  );
  return (level, message, fields, stacks) => {
    const out: Record<string, unknown> = Object.create(null);
    for (const key of Object.keys(fields)) {
      const value = shownValue(key, fields[key]);
      if (value === undefined) continue;
      const shown = printable(key, 80);
      const data = plainOf(value);
      // One object may be large in many small parts: bounded as a whole too.
      out[TAKEN.has(shown) ? `${shown}_` : shown] = typeof data === "object" ? boundedData(data) : data;
      if (stacks && value instanceof Error) out[`${shown}_stack`] = frames(value);
    }
    logger[level](out, printable(message));
  };
}

function boundedData(data: object | null): unknown {
  const text = JSON.stringify(data);
  return text.length > MAX_FIELD_CHARS ? textOf(data) : data;
}

let stderr: { write(text: string): unknown } | undefined;

function writeToStderr(line: string): void {
  // Synchronous: what was logged before a crash is there after it.
  stderr ??= pino.destination({ fd: 2, sync: true });
  stderr.write(`${line}\n`);
}
