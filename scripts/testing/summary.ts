/** The closing lines of `npm test`: what was checked, what was there, what failed, was skipped or left, and the counts. */
import { relative } from "node:path";
import type { Finding } from "./reporter.ts";

export class Summary {
  readonly #began = performance.now();
  readonly #checks: string[] = [];
  readonly #services: string[] = [];
  readonly #problems: string[] = [];
  readonly #failures: string[] = [];
  readonly #leftovers: string[] = [];
  /** Why → how many. */
  readonly #skips = new Map<string, number>();
  #passed = 0;
  #failed = 0;
  #skipped = 0;

  get ok(): boolean {
    return this.#problems.length === 0 && this.#failed === 0 && this.#leftovers.length === 0;
  }

  check(name: string, well: boolean, tookMs: number): void {
    this.#checks.push(`${name} ${well ? "well" : "FAILED"} (${(tookMs / 1000).toFixed(1)} s)`);
    if (!well) this.problem(`${name}: see above`);
  }

  service(note: string): void {
    this.#services.push(note);
    console.log(`# ${note}`);
  }

  /** Something other than a test that makes the run a failure. */
  problem(what: string): void {
    this.#problems.push(what);
  }

  leftover(what: string): void {
    this.#leftovers.push(what);
  }

  phase(name: string, status: number | null, findings: readonly Finding[]): void {
    let counted = false;
    const failedBefore = this.#failed;
    for (const finding of findings) {
      if (finding.kind === "counts") {
        counted = true;
        this.#passed += finding.passed;
        this.#failed += finding.failed;
        this.#skipped += finding.skipped;
      } else if (finding.kind === "failed") {
        this.#failures.push(`${finding.name} (${relative(".", finding.file)}): ${finding.why}`);
      } else {
        this.#skips.set(finding.why, (this.#skips.get(finding.why) ?? 0) + 1);
      }
    }
    if (!counted) this.problem(`${name}: the test runner ended without its counts (status ${status})`);
    else if (status !== 0 && this.#failed === failedBefore)
      this.problem(`${name}: the test runner ended with ${status}`);
  }

  print(): void {
    const section = (title: string, lines: readonly string[]): void => {
      for (const line of lines) console.log(`${title.padEnd(9)} ${line}`);
    };
    console.log("\n# summary");
    section("checks", this.#checks);
    section("service", this.#services);
    section(
      "skipped",
      [...this.#skips].map(([why, count]) => `${count} × ${why === "" ? "(no reason given)" : why}`),
    );
    section("failed", this.#failures);
    section("left", this.#leftovers);
    section("problem", this.#problems);
    console.log(`${this.ok ? "WELL" : "FAILED"} in ${((performance.now() - this.#began) / 1000).toFixed(0)} s`);
    console.log(`${this.#passed} passed, ${this.#failed} failed, ${this.#skipped} skipped`);
  }
}
