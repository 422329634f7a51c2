/** What the tasks of a test noted, read from the file that they append to. */
import { existsSync, readFileSync, watch } from "node:fs";
import { writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/** A safety net, not an expectation. */
const PATIENCE_MS = 60_000;

export class Ledger {
  readonly file: string;

  constructor(file: string) {
    this.file = file;
  }

  /** Each line as its words. */
  get lines(): unknown[][] {
    if (!existsSync(this.file)) return [];
    const text = readFileSync(this.file, "utf8");
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as unknown[]);
  }

  /** Lines that begin with these words. */
  of(...words: unknown[]): unknown[][] {
    return this.lines.filter((line) => words.every((word, i) => JSON.stringify(line[i]) === JSON.stringify(word)));
  }

  count(...words: unknown[]): number {
    return this.of(...words).length;
  }

  /** Resolves when there are `count` lines that begin with these words. */
  async waitFor(count: number, ...words: unknown[]): Promise<unknown[][]> {
    // Appended to: what a task notes at this very moment must stay.
    if (!existsSync(this.file)) await writeFile(this.file, "", { flag: "a" });
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.of(...words);
        if (found.length < count) return;
        done();
        resolve(found);
      };
      const watcher = watch(dirname(this.file), look);
      const timeout = setTimeout(() => {
        done();
        reject(
          new Error(`${count} × ${JSON.stringify(words)} did not come; the ledger has ${JSON.stringify(this.lines)}`),
        );
      }, PATIENCE_MS);
      const done = () => {
        watcher.close();
        clearTimeout(timeout);
      };
      look();
    });
  }
}
