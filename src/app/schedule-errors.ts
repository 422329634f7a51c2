/** What goes wrong with a call of `app.schedule`, whatever store it uses. Codes stand in `docs/errors.md`. */
import { ContractError, LostError, UnavailableError } from "../kit/errors.ts";
import { textOf } from "../kit/printable.ts";
import { isRecurrenceId, type Ref } from "./refs.ts";

/** `onConflict: "reject"`, and the key is taken: by a live callback, or by a recurrence that has not ended. */
export class KeyTakenError extends ContractError {
  readonly code = "ERR_KEY_TAKEN";
  readonly id: string;

  constructor(key: string, id: string) {
    super(
      `key ${JSON.stringify(key)} belongs to ${isRecurrenceId(id) ? "recurrence" : "callback"} ${id}; cancel that one, or use onConflict "keep" or "replace"`,
    );
    this.id = id;
  }
}

/** It was to be moved or replaced, and has started already. */
export class TooLateError extends LostError {
  readonly code = "ERR_TOO_LATE";
  readonly id: string;

  constructor(id: string) {
    super(`callback ${id} has started already; it was left as it is`);
    this.id = id;
  }
}

export class UnknownCallbackError extends ContractError {
  readonly code = "ERR_UNKNOWN_CALLBACK";

  constructor(ref: Ref) {
    super(
      isRecurrenceId(typeof ref === "object" && "id" in ref ? ref.id : ref)
        ? `${shown(ref)} is a recurrence's id, and no callback's; its occurrences are callbacks: list({ recurrence: ${shown(ref)} })`
        : `no callback has the id or key ${shown(ref)}; it may be past retention`,
    );
  }
}

export class UnknownRecurrenceError extends ContractError {
  readonly code = "ERR_UNKNOWN_RECURRENCE";

  constructor(ref: Ref) {
    super(`no recurrence has the id or key ${shown(ref)}; it may be past retention`);
  }
}

/** It was to be paused or resumed, and was cancelled, or has no further occurrence. */
export class RecurrenceEndedError extends LostError {
  readonly code = "ERR_RECURRENCE_ENDED";
  readonly id: string;

  constructor(id: string) {
    super(`recurrence ${id} has ended; call it anew with callRepeatedly`);
    this.id = id;
  }
}

/** The task id was revoked before the callback could be added. */
export class RevokedBeforeError extends LostError {
  readonly code = "ERR_REVOKED_BEFORE";
}

/** Others changed what it worked on faster than it could follow. What it has done is done; to call it again goes on. */
export class OvertakenError extends UnavailableError {
  readonly code = "ERR_OVERTAKEN";
}

function shown(ref: Ref): string {
  return typeof ref === "string" ? JSON.stringify(textOf(ref, 200)) : textOf(ref, 200);
}
