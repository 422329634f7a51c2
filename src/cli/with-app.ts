/** The app that a command works on: the file's (`-A`), or a nameless one with the environment's settings. */
import type { Command } from "commander";
import { Lovage } from "../app/app.ts";
import type { SettingsInput } from "../app/config.ts";
import { findApp } from "../app/find-app.ts";
import { InvalidInputError } from "../kit/errors.ts";

interface GlobalOptions {
  readonly app?: string;
  readonly broker?: string;
  readonly resultBackend?: string;
  readonly schedule?: string;
}

/** @param settings that win over the app's own  @throws {InvalidInputError} there is no -A */
export async function requireApp(
  command: Command,
  settings: SettingsInput = {},
): Promise<{ app: Lovage; file: string }> {
  const { app: file } = command.optsWithGlobals<GlobalOptions>();
  if (file === undefined) {
    throw new InvalidInputError(
      `${command.name()} needs -A FILE, the file that exports your app: lovage -A tasks.ts ${command.name()}`,
    );
  }
  return { app: await openApp(command, settings), file };
}

export async function openApp(command: Command, settings: SettingsInput = {}): Promise<Lovage> {
  const { app: file, broker, resultBackend, schedule } = command.optsWithGlobals<GlobalOptions>();
  const changes: SettingsInput = { ...settings, broker, backend: resultBackend, schedule };
  if (file === undefined) return new Lovage("cli", changes);
  const app = await findApp(file);
  app.reconfigure(changes);
  return app;
}

/** Run with the app, and close it whatever happens. */
export async function withApp<T>(command: Command, run: (app: Lovage) => Promise<T>): Promise<T> {
  const app = await openApp(command);
  try {
    return await run(app);
  } finally {
    await app.close();
  }
}
