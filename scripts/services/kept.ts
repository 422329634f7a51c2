/** The owner's side of the keeper: processes and a folder that go away with this process, however it ends. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { RUN_VARIABLE } from "./tagged.ts";

export interface KeptCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** The file that takes its standard output and error. */
  readonly log: string;
}

/** What the keeper is told: its first line of input. */
export interface Order {
  /** Removed at the end, with all that is in it. */
  readonly folder: string;
  /** Started in this order, ended in the reverse one. */
  readonly commands: readonly KeptCommand[];
  /** At the end also every process tagged with this run. */
  readonly run?: string;
}

/** What the keeper tells: a line each. */
export type KeeperEvent =
  | { readonly event: "started"; readonly index: number; readonly pid: number }
  | { readonly event: "ended"; readonly index: number; readonly how: string };

export interface Kept {
  /** Resolves when one of the commands ends, with how it did: before `stop` that is a failure. */
  readonly ended: Promise<string>;
  /** End the commands and remove the folder. Resolves when both are gone. Twice is once. */
  stop(): Promise<void>;
}

export function keep(order: Order): Kept {
  const { [RUN_VARIABLE]: _, ...env } = process.env; // the keeper must not sweep itself away
  const keeper = spawn(process.execPath, [fileURLToPath(new URL("./keeper.ts", import.meta.url))], {
    stdio: ["pipe", "pipe", "inherit"],
    env,
    detached: true,
  });
  keeper.stdin.on("error", () => {}); // a keeper that is gone shows as ended
  keeper.stdin.write(`${JSON.stringify(order)}\n`);

  const gone = new Promise<void>((resolve) => {
    keeper.once("error", () => resolve());
    keeper.once("exit", () => resolve());
  });
  const ended = new Promise<string>((resolve) => {
    createInterface({ input: keeper.stdout }).on("line", (line) => {
      const event = JSON.parse(line) as KeeperEvent;
      if (event.event === "ended") resolve(`${order.commands[event.index]?.command ?? "a command"}: ${event.how}`);
    });
    void gone.then(() => resolve("the keeper has ended"));
  });

  // It ends with its owner, so it is no reason for the owner to stay.
  keeper.unref();
  for (const stream of [keeper.stdin, keeper.stdout]) {
    if ("unref" in stream && typeof stream.unref === "function") stream.unref();
  }

  return {
    ended,
    async stop() {
      keeper.ref();
      keeper.stdin.end();
      await gone;
    },
  };
}
