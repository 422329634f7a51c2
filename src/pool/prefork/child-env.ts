/**
 * What a pool process inherits. Tasks are the user's code and need the user's environment: API keys, paths, NODE_ENV.
 * What they never need is what opens broker and stores, passwords and keys included: a child asks its worker, and opens neither.
 * So these are taken out, by name. An app that wants one in its tasks passes it on under a name of its own.
 */

/** Every variable from which `app/config.ts` reads a URL, a password, or options that may hold one; and Celery's own of these. */
export const SECRET_VARIABLES: readonly string[] = [
  "LOVAGE_BROKER",
  "LOVAGE_BROKER_URL",
  "LOVAGE_BROKER_READ_URL",
  "LOVAGE_BROKER_WRITE_URL",
  "LOVAGE_BROKER_USE_SSL",
  "LOVAGE_BROKER_TRANSPORT_OPTIONS",
  "LOVAGE_BACKEND",
  "LOVAGE_RESULT_BACKEND",
  "LOVAGE_RESULT_BACKEND_TRANSPORT_OPTIONS",
  "LOVAGE_REDIS_BACKEND_USE_SSL",
  "LOVAGE_REDIS_PASSWORD",
  "LOVAGE_SCHEDULE",
  "LOVAGE_SCHEDULE_URL",
  "LOVAGE_SECURITY_KEY_PASSWORD",
  "CELERY_BROKER_URL",
  "CELERY_BROKER_READ_URL",
  "CELERY_BROKER_WRITE_URL",
  "CELERY_RESULT_BACKEND",
];

/** Says "I am run by node:test" to whatever imports it; not true of a child. */
const TEST_RUNNER = "NODE_TEST_CONTEXT";

export type Environment = Readonly<Record<string, string | undefined>>;

export function childEnv(parent: Environment): Environment {
  const env = { ...parent };
  for (const name of [...SECRET_VARIABLES, TEST_RUNNER]) delete env[name];
  return env;
}

/** Node's flags that are about how the parent was started, with the number of arguments that may follow each. */
const PARENT_ONLY: Readonly<Record<string, 0 | 1>> = {
  "-e": 1,
  "--eval": 1,
  "-p": 1,
  "--print": 1,
  "-pe": 1,
  "--input-type": 1,
  "-c": 0,
  "--check": 0,
  "-i": 0,
  "--interactive": 0,
  "--test": 0,
  "--watch": 0,
  "--watch-path": 1,
  "--inspect": 0,
  "--inspect-brk": 0,
  "--inspect-wait": 0,
  "--inspect-port": 1,
};
const PARENT_ONLY_PREFIXES = ["--test-", "--experimental-test-"];

/** Node's flags for a child: the parent's (`--conditions`, `--import`, memory limits …) but for those that are its own affair. */
export function childExecArgv(parent: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < parent.length; i += 1) {
    const argument = parent[i] ?? "";
    const equals = argument.indexOf("=");
    const flag = equals < 0 ? argument : argument.slice(0, equals);
    if (PARENT_ONLY_PREFIXES.some((prefix) => flag.startsWith(prefix))) continue;
    const follow = Object.hasOwn(PARENT_ONLY, flag) ? PARENT_ONLY[flag] : undefined;
    if (follow === undefined) kept.push(argument);
    else if (equals < 0) i += follow;
  }
  return kept;
}
