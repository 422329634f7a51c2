/**
 * The settings of an app, read from the argument, then the environment (`LOVAGE_*`, then `CELERY_BROKER_URL` and
 * `CELERY_RESULT_BACKEND`), then the default. Every wrong one is named at once.
 */

import { InvalidConfigError, messageOf } from "../kit/errors.ts";
import type { Rule } from "../kit/options.ts";
import { nearest, newNameOf, whyNotOurs } from "./celery-settings.ts";
import { camelCase } from "./setting-rules.ts";
import type { Settings, SettingsInput } from "./settings.ts";
import { EMBEDDED_SCHEMES, TABLE, type TableConfig } from "./settings-table.ts";

export type { Settings, SettingsInput } from "./settings.ts";

/** The settings as the code uses them: complete, durations in ms. */
export interface Config extends TableConfig {
  /** One URL, or several with `;` between them. */
  readonly broker: string;
  readonly schedule: string;
  /** Zone of moments without an offset. */
  readonly timezone: string;
  /** Settings of Celery's that were given and have no effect here, each with the reason: to be logged. */
  readonly warnings: readonly string[];
}

export const DEFAULT_FILE_URL = "sqlite:lovage.db";

/** Celery's names that are not the camelCase of ours. */
const ALIASES: Readonly<Record<string, keyof Settings>> = { brokerUrl: "broker", resultBackend: "backend" };

/** What None means to Celery, where that is not the default. */
const NONE: Partial<Record<keyof Settings, unknown>> = {
  brokerConnectionMaxRetries: 0,
  brokerHeartbeat: 0,
  resultExpires: 0,
};

/** @throws {InvalidConfigError} names every setting that is unknown or wrong */
export function readConfig(settings: SettingsInput, env: Readonly<Record<string, string | undefined>>): Config {
  const problems: string[] = [];
  const warnings: string[] = [];
  const read: Partial<Record<keyof Settings, unknown>> = {};
  const take = (name: keyof Settings, readings: readonly unknown[], shown: string) => {
    try {
      read[name] = firstThatFits(TABLE[name].rule, readings, shown);
    } catch (error) {
      problems.push(...(error instanceof InvalidConfigError ? error.problems : [messageOf(error)]));
    }
  };

  for (const [name, value] of Object.entries(fromEnvironment(env))) {
    take(name as keyof Settings, readingsOf(value.text), value.variable);
  }
  for (const [given, value] of Object.entries(settings)) {
    if (value === undefined) continue;
    const name = knownAs(given);
    if (isOurs(name)) {
      const meant = value === null ? NONE[name] : value;
      if (meant !== undefined) take(name, [meant], given);
    } else if (value !== null) {
      const why = whyNotOurs(name);
      if (why === undefined) problems.push(unknown(given, name));
      else warnings.push(`the setting ${given} is Celery's and has no effect here: ${why}`);
    }
  }
  const { taskSoftTimeLimit: soft, taskTimeLimit: hard } = read as {
    taskSoftTimeLimit?: number;
    taskTimeLimit?: number;
  };
  if (soft !== undefined && hard !== undefined && hard > 0 && soft > hard) {
    problems.push("taskSoftTimeLimit must not be longer than taskTimeLimit: the soft limit comes first");
  }
  const signing = signingOf(read);
  problems.push(...signing.problems);
  warnings.push(...signing.warnings);
  if (problems.length > 0) throw new InvalidConfigError(problems);

  const broker = (read.broker ?? read.brokerReadUrl ?? read.brokerWriteUrl ?? DEFAULT_FILE_URL) as string;
  const embedded = isEmbedded(broker);
  read.broker = broker;
  read.backend ??= embedded ? broker : undefined;
  read.schedule ??= embedded ? broker : DEFAULT_FILE_URL;
  read.timezone ??= read.enableUtc === false ? Intl.DateTimeFormat().resolvedOptions().timeZone : "UTC";
  return { ...complete(read), warnings };
}

/** Who signs needs a key; who believes signatures, whom to believe; and there is no point in both where unsigned messages are taken as well. */
function signingOf(read: Partial<Record<keyof Settings, unknown>>) {
  const problems: string[] = [];
  const warnings: string[] = [];
  const accepted = (read.acceptContent ?? []) as readonly string[];
  const signed = accepted.filter((name) => name === "auth" || name === "application/data");
  if (read.taskSerializer === "auth" && (read.securityKey === undefined || read.securityCertificate === undefined)) {
    problems.push('taskSerializer is "auth": set securityKey and securityCertificate, the files to sign with');
  }
  if (signed.length > 0 && read.securityCertStore === undefined) {
    problems.push('acceptContent has "auth": set securityCertStore, the folder of the certificates that are trusted');
  }
  if (signed.length > 0 && signed.length < accepted.length) {
    warnings.push('acceptContent has more than "auth": messages without a signature are taken too');
  }
  return { problems, warnings };
}

/** In camelCase, by our name for it where that is another. */
function knownAs(given: string): string {
  const camel = camelCase(given);
  return ALIASES[camel] ?? camel;
}

function isOurs(name: string): name is keyof Settings {
  return Object.hasOwn(TABLE, name);
}

function unknown(given: string, name: string): string {
  const newName = newNameOf(given, (camel) => isOurs(ALIASES[camel] ?? camel) || whyNotOurs(camel) !== undefined);
  if (newName === undefined) return `unknown setting ${JSON.stringify(given)}${nearest(name, Object.keys(TABLE))}`;
  const ours = knownAs(newName);
  return `the setting ${given} is called ${isOurs(ours) ? `${ours} (${newName})` : newName}: names in capitals are not read`;
}

/** Every setting of the table, under the name that `Config` has for it. */
function complete(
  read: Partial<Record<keyof Settings, unknown>>,
): TableConfig & Pick<Config, "broker" | "schedule" | "timezone"> {
  const config: Record<string, unknown> = {};
  for (const name of Object.keys(TABLE) as (keyof Settings)[]) {
    const entry = TABLE[name];
    config["ms" in entry ? `${name}Ms` : name] = read[name] ?? entry.fallback;
  }
  return config as unknown as Config; // `readConfig` has filled in the three
}

/** It is in this process, or in a file of this machine. */
export function isEmbedded(url: string): boolean {
  return EMBEDDED_SCHEMES.includes(url.slice(0, url.indexOf(":")).toLowerCase());
}

/** `LOVAGE_TASK_ACKS_LATE` is `taskAcksLate`; the two URLs are read under Celery's names as well. */
function fromEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Partial<Record<keyof Settings, { text: string; variable: string }>> {
  const found: Partial<Record<keyof Settings, { text: string; variable: string }>> = {};
  const look = (name: keyof Settings, variable: string) => {
    const text = env[variable];
    if (text !== undefined && text !== "" && found[name] === undefined) found[name] = { text, variable };
  };
  for (const name of Object.keys(TABLE) as (keyof Settings)[]) look(name, `LOVAGE_${upperSnake(name)}`);
  for (const [alias, name] of Object.entries(ALIASES)) look(name, `LOVAGE_${upperSnake(alias)}`);
  look("schedule", "LOVAGE_SCHEDULE_URL");
  look("broker", "CELERY_BROKER_URL");
  look("backend", "CELERY_RESULT_BACKEND");
  return found;
}

function upperSnake(camel: string): string {
  return camel.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/** What the text of a variable may mean: a number, a yes or no, a list or an object, or itself. */
function readingsOf(value: string): unknown[] {
  const readings: unknown[] = [value];
  if (/^(true|1)$/i.test(value)) readings.unshift(true);
  if (/^(false|0)$/i.test(value)) readings.unshift(false);
  if (/^\d+(\.\d+)?$/.test(value)) readings.unshift(Number(value));
  if (/^\s*[[{]/.test(value)) readings.unshift(...parsed(value));
  return readings;
}

/** A list or an object is written as JSON. */
function parsed(value: string): unknown[] {
  try {
    return [JSON.parse(value)];
  } catch {
    return [];
  }
}

function firstThatFits(rule: Rule<unknown>, readings: readonly unknown[], name: string): unknown {
  let refusal: unknown;
  for (const reading of readings) {
    try {
      return rule(reading, name);
    } catch (error) {
      refusal ??= error;
    }
  }
  throw refusal;
}
