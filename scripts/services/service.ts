/**
 * What tests need of the machine: a server or a tool. Each is looked for, else started privately, else installed
 * where that may be done, else reported as missing with what to install.
 */
export interface Service {
  readonly name: string;
  /**
   * The environment variable by which tests know it. It also says who wants it: a test file that names it, itself
   * or in a helper that it imports.
   */
  readonly variable: string;
  ensure(): Promise<Ensured | Missing>;
}

export interface Ensured {
  /** Where it is: the value of the variable. */
  readonly url: string;
  /** Further variables for the tests. */
  readonly env?: Readonly<Record<string, string>>;
  /** True: it is ours, and `stop` ends it. False: it was found, and nobody here ends it. */
  readonly started: boolean;
  /** One phrase for the list that `npm test` prints. */
  readonly note: string;
  /** What tests left there: a phrase each. */
  leftovers?(): Promise<string[]>;
  /** Twice is once. */
  stop(): Promise<void>;
}

export interface Missing {
  /** One line: what is missing and what to install. */
  readonly missing: string;
}

/** The variable by which a test learns why the service of `variable` is missing. */
export function missingVariable(variable: string): string {
  return `${variable}_MISSING`;
}

/** A service that was found: nothing to stop. */
export function found(url: string, note: string, env?: Readonly<Record<string, string>>): Ensured {
  return { url, started: false, note, stop: async () => {}, ...(env === undefined ? {} : { env }) };
}

/** In CI a test that cannot run is a failure: there a skipped test would be a test that nobody runs. */
export function inCi(): boolean {
  return process.env.CI === "true" || process.env.CI === "1";
}
