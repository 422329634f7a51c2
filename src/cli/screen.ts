/**
 * The terminal for a live view: frames without flicker, keys as they are pressed, and all as it was before when the view ends, whatever
 * ends it.
 *
 * A frame overwrites the one before it line by line, and clears what is left of each; the screen is never blank between two.
 */
const HOME = "\u001b[H";
const CLEAR_LINE = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";
const ENTER = "\u001b[?1049h\u001b[?25l"; // a screen of its own, without a cursor
const LEAVE = "\u001b[?25h\u001b[?1049l";
const CTRL_C = "\u0003";
const CTRL_D = "\u0004";

/** What a screen uses of `process`. */
export interface ScreenStreams {
  readonly stdout: Pick<NodeJS.WriteStream, "write" | "columns" | "rows" | "on" | "off" | "isTTY">;
  readonly stdin: Pick<NodeJS.ReadStream, "isTTY" | "setRawMode" | "on" | "off" | "resume" | "pause">;
}

export class Screen {
  readonly #streams: ScreenStreams;
  readonly #onResize: () => void;
  /** Resolves when the view is to end: q, Ctrl-C, Ctrl-D, a signal, or the terminal has gone. */
  readonly ended: Promise<void>;
  #end: () => void = () => undefined;
  #open = false;

  /** @param onResize the terminal has another size: draw again */
  constructor(streams: ScreenStreams, onResize: () => void) {
    this.#streams = streams;
    this.#onResize = onResize;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get columns(): number {
    return this.#streams.stdout.columns || 80;
  }

  get rows(): number {
    return this.#streams.stdout.rows || 24;
  }

  open(): void {
    const { stdin, stdout } = this.#streams;
    this.#open = true;
    stdout.write(ENTER);
    stdout.on("resize", this.#onResize);
    stdout.on("error", this.#end);
    for (const signal of SIGNALS) process.on(signal, this.#end);
    if (!stdin.isTTY) return;
    stdin.setRawMode(true);
    stdin.on("data", this.#onKey);
    stdin.on("end", this.#end);
    stdin.resume();
  }

  draw(lines: readonly string[]): void {
    if (!this.#open) return;
    const body = lines.slice(0, this.rows).map((line) => line + CLEAR_LINE);
    this.#streams.stdout.write(HOME + body.join("\r\n") + CLEAR_BELOW);
  }

  /** The terminal as it was. Twice is once. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    const { stdin, stdout } = this.#streams;
    stdout.off("resize", this.#onResize);
    for (const signal of SIGNALS) process.off(signal, this.#end);
    if (stdin.isTTY) {
      stdin.off("data", this.#onKey);
      stdin.off("end", this.#end);
      stdin.setRawMode(false);
      stdin.pause();
    }
    stdout.write(LEAVE);
  }

  readonly #onKey = (data: Buffer | string): void => {
    const keys = data.toString();
    if (/[qQ]/.test(keys) || keys.includes(CTRL_C) || keys.includes(CTRL_D)) this.#end();
  };
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
