/**
 * What handlers themselves put down of their runs: one line at the first instruction, one at the last, each a single write at the end of a
 * file of this process alone. It shares nothing with what is tested, and what was written survives kill -9.
 */
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

export interface RunLine {
  readonly what: "start" | "end";
  readonly id: string;
  readonly token: number;
  readonly attempt: number;
  readonly wallMs: number;
  readonly monoMs: number;
  readonly pid: number;
  /** What the client calls the callback: its key. It knows no other name of one whose answer it did not get. */
  readonly name: string;
}

/** One write of less than this is not torn by another. */
const MOST_BYTES = 4_096;
const ENDING = ".runs";

/** Of one process; its file is opened at its first line. */
export class LedgerWriter {
  readonly #folder: string;
  #file: number | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  note(what: RunLine["what"], run: Pick<RunLine, "id" | "token" | "attempt" | "name">): void {
    const words = [
      what,
      run.id,
      run.token,
      run.attempt,
      Date.now(),
      performance.now().toFixed(3),
      process.pid,
      run.name,
    ];
    const line = `${words.join(" ")}\n`;
    if (Buffer.byteLength(line) > MOST_BYTES) throw new Error(`a line of the ledger has more than ${MOST_BYTES} bytes`);
    this.#file ??= this.#open();
    writeSync(this.#file, line);
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #open(): number {
    mkdirSync(this.#folder, { recursive: true });
    // A pid may come again within a long campaign; the moment of its start does not.
    const name = `${process.pid}-${Math.round(performance.timeOrigin)}${ENDING}`;
    return openSync(join(this.#folder, name), "a");
  }
}

/** All lines, in the order of their time. A last line without its end was cut by a kill, and says nothing. */
export function readLedger(folder: string): RunLine[] {
  const lines: RunLine[] = [];
  for (const file of readdirSync(folder)) {
    if (!file.endsWith(ENDING)) continue;
    const text = readFileSync(join(folder, file), "utf8");
    for (const line of text.slice(0, text.lastIndexOf("\n") + 1).split("\n"))
      if (line !== "") lines.push(parseLine(line, file));
  }
  return lines.sort((a, b) => a.wallMs - b.wallMs);
}

function parseLine(line: string, file: string): RunLine {
  const [what, id, token, attempt, wallMs, monoMs, pid, ...name] = line.split(" ");
  if ((what !== "start" && what !== "end") || id === undefined || name.length === 0) {
    throw new Error(`${file} has a line that is none of a run: ${JSON.stringify(line)}`);
  }
  return {
    what,
    id,
    token: Number(token),
    attempt: Number(attempt),
    wallMs: Number(wallMs),
    monoMs: Number(monoMs),
    pid: Number(pid),
    name: name.join(" "),
  };
}
