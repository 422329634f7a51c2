/** Loads the user's file and finds the app in it: the CLI, the worker and every pool process start here. */
import { access } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ContractError, messageOf } from "../kit/errors.ts";
import { APP_MARK, type Lovage } from "./app.ts";

/** The file given by `-A` is not there, does not load, or exports no app. */
export class AppNotFoundError extends ContractError {
  readonly code = "ERR_APP_NOT_FOUND";
}

/** The user's file threw while it was loaded; its own error, with its stack, is the cause. */
export class AppLoadError extends ContractError {
  readonly code = "ERR_APP_LOAD";
}

/**
 * The app of a module: its export `app`, else its default export, else the only app among its exports.
 * @param path of a .ts, .js or .mjs file, absolute or from the working directory
 */
export async function findApp(path: string): Promise<Lovage> {
  const file = resolve(path);
  await access(file).catch(() => {
    throw new AppNotFoundError(`-A ${path}: there is no such file; give the path of the file that exports your app`);
  });
  let module: Record<string, unknown>;
  try {
    module = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  } catch (error) {
    throw new AppLoadError(`-A ${path}: the file does not load: ${messageOf(error)}`, { cause: error });
  }
  for (const name of ["app", "default"]) {
    if (isApp(module[name])) return module[name];
  }
  const apps = [...new Set(Object.values(module).filter(isApp))];
  if (apps[0] !== undefined && apps.length === 1) return apps[0];
  throw new AppNotFoundError(
    apps.length === 0
      ? `-A ${path}: the file exports no app; add: export const app = new Lovage("name")`
      : `-A ${path}: the file exports ${apps.length} apps; export the one that is meant as "app"`,
  );
}

function isApp(value: unknown): value is Lovage {
  return typeof value === "object" && value !== null && (value as Partial<Lovage>)[APP_MARK] === true;
}
