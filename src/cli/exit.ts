/** How a command ends: 0 done, 1 the operation failed, 2 usage; an error is one line, and a stack only at `-l debug`. */
import { AppLoadError, AppNotFoundError } from "../app/find-app.ts";
import { type InvalidConfigError, InvalidInputError, messageOf } from "../kit/errors.ts";
import { redactText } from "../kit/redact.ts";
import { ChildBootError } from "../pool/errors.ts";

export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;

const INVALID_CONFIG: InvalidConfigError["code"] = "ERR_INVALID_CONFIG";

/** Print the error; answers the exit status. */
export function report(error: unknown, argv: readonly string[]): number {
  process.stderr.write(`lovage: ${redactText(oneLine(messageOf(error)))}\n`);
  // The user's own file threw: its stack is what they need.
  const stack = usersStack(error);
  if (stack !== undefined) process.stderr.write(`${redactText(stack)}\n`);
  else if (wantsDebug(argv) && error instanceof Error) process.stderr.write(`${redactText(error.stack ?? "")}\n`);
  return isUsage(error) ? EXIT_USAGE : EXIT_FAILED;
}

/** The stack of the user's own file, where that is what went wrong; a wrong setting says by itself what it is. */
export function usersStack(error: unknown): string | undefined {
  if (isWrongSetting(error)) return undefined;
  for (let each = error, depth = 0; each instanceof Error && depth < 5; each = each.cause, depth += 1) {
    if (each instanceof ChildBootError) return each.childStack;
    if (each instanceof AppLoadError && each.cause instanceof Error) return each.cause.stack;
  }
  return undefined;
}

function isUsage(error: unknown): boolean {
  return error instanceof InvalidInputError || error instanceof AppNotFoundError || isWrongSetting(error);
}

/** Also one that the app met while its file was loaded: a variable of the environment, say. By its code, as the file may load another copy of us. */
function isWrongSetting(error: unknown): boolean {
  const cause = error instanceof AppLoadError ? error.cause : error;
  return cause instanceof Error && "code" in cause && cause.code === INVALID_CONFIG;
}

function wantsDebug(argv: readonly string[]): boolean {
  return argv.some(
    (each, i) =>
      /^(-l|--loglevel=)debug$/i.test(each) || (/^debug$/i.test(each) && /^(-l|--loglevel)$/.test(argv[i - 1] ?? "")),
  );
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, " ");
}
