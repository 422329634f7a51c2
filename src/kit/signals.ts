/** Names of signals, as they come from people and from other programs. */
import { constants } from "node:os";

const NUMBERS: Readonly<Record<string, number>> = constants.signals;

/**
 * The signal of this machine that is meant: by its name, with or without "SIG", in either case, or by its number.
 * Undefined: there is none. Node throws for a name that it does not know, also in a timer, where nobody catches it.
 */
export function signalOf(given: unknown): NodeJS.Signals | undefined {
  if (typeof given === "number") {
    return Object.keys(NUMBERS).find((name) => NUMBERS[name] === given) as NodeJS.Signals | undefined;
  }
  if (typeof given !== "string") return undefined;
  const upper = given.toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  return Object.hasOwn(NUMBERS, name) ? (name as NodeJS.Signals) : undefined;
}
