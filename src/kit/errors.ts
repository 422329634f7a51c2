/**
 * What every error of Lovage has in common. The family says who can act: the programmer or operator
 * (`ContractError`), time (`UnavailableError`: try again), nobody (`LostError`). `code` is stable: it is what
 * crosses a process boundary, and what programs compare. Each module defines its own errors; `docs/errors.md`
 * lists every code, and a test holds the two together.
 *
 * A message is one line that names the input, the rule and the remedy.
 */
export abstract class LovageError extends Error {
  abstract readonly code: string;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The programmer or the operator can act: the call, the configuration or the input is wrong. Trying again will not help. */
export abstract class ContractError extends LovageError {}

/** Time can act: something is away or full. The same call may succeed later. */
export abstract class UnavailableError extends LovageError {}

/** Nobody can act any more: the outcome belongs to somebody else, or is gone. */
export abstract class LostError extends LovageError {}

/** One option, argument or field is not what the contract says. */
export class InvalidInputError extends ContractError {
  readonly code = "ERR_INVALID_INPUT";
}

/** A configuration with every wrong option named at once. */
export class InvalidConfigError extends ContractError {
  readonly code = "ERR_INVALID_CONFIG";
  readonly problems: readonly string[];

  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(problems.join("; "), options);
    this.problems = problems;
  }
}

/** An optional peer dependency is not installed. */
export class MissingPeerError extends ContractError {
  readonly code = "ERR_MISSING_PEER";

  readonly packageName: string;

  constructor(packageName: string, wantedBy: string, options?: ErrorOptions) {
    super(`${wantedBy} needs the package ${packageName}: run "npm install ${packageName}"`, options);
    this.packageName = packageName;
  }
}

/** The part was closed; nothing more can be asked of it. */
export class ClosedError extends UnavailableError {
  readonly code = "ERR_CLOSED";
}

/** Nothing answered within the time allowed; whether the other side acted is not known. */
export class TimeoutError extends UnavailableError {
  readonly code = "ERR_TIMEOUT";
}

/**
 * The change may or may not have been made: the answer was lost, or the commit failed half-way.
 * Repeating the call with the same key is always safe. (SEMANTICS G2)
 */
export class OutcomeUnknownError extends UnavailableError {
  readonly code = "ERR_OUTCOME_UNKNOWN";

  readonly key: string | undefined;

  constructor(what: string, key?: string, options?: ErrorOptions) {
    super(
      `it is not known whether ${what} took effect; repeating it${key === undefined ? " with a key" : ` with key ${JSON.stringify(key)}`} is safe`,
      options,
    );
    this.key = key;
  }
}

/** The one-line text of anything that was thrown, whatever it is. */
export function messageOf(thrown: unknown): string {
  try {
    if (thrown instanceof Error) return thrown.message === "" ? thrown.name : thrown.message;
    return String(thrown);
  } catch {
    return "a value that cannot be printed was thrown";
  }
}

/** `thrown` as an Error, with what it was as the cause where it was none. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(messageOf(thrown), { cause: thrown });
}
