/**
 * Tools of others that tests speak to or start: real Celery, amqp-publish of librabbitmq, PgBouncer. They are programs and not servers, so
 * there is nothing to stop.
 */
import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { installDebian, mayInstall } from "./debian.ts";
import { found, type Missing, type Service } from "./service.ts";

const run = promisify(execFile);

/** A Python that can import Celery, and what its Redis transport and serializers need. `/usr/bin` first: Debian's packages are for Debian's Python, and PATH may say another. */
export const celery: Service = {
  name: "Celery",
  variable: "LOVAGE_TEST_PYTHON",
  ensure: () =>
    lookOrInstall(
      ["python3-celery", "python3-redis", "python3-yaml", "python3-msgpack", "python3-cryptography"],
      findCelery,
      {
        missing:
          'Celery: no Python here imports it with redis, yaml, msgpack and cryptography: install them ("sudo apt-get install python3-celery python3-redis python3-yaml python3-msgpack python3-cryptography", or pip), or name a Python by LOVAGE_TEST_PYTHON',
      },
    ),
};

export const amqpTools: Service = {
  name: "amqp-tools",
  variable: "LOVAGE_TEST_AMQP_PUBLISH",
  ensure: () =>
    lookOrInstall(["amqp-tools"], findAmqpPublish, {
      missing: 'amqp-tools: no amqp-publish on PATH: install it ("sudo apt-get install amqp-tools")',
    }),
};

/** A pooler between us and PostgreSQL: in its transaction mode each statement may have another server connection. */
export const pgbouncer: Service = {
  name: "PgBouncer",
  variable: "LOVAGE_TEST_PGBOUNCER",
  ensure: () =>
    lookOrInstall(["pgbouncer"], findPgbouncer, {
      missing: 'PgBouncer: no pgbouncer on PATH: install it ("sudo apt-get install pgbouncer")',
    }),
};

export interface Tool {
  readonly path: string;
  readonly note: string;
}

async function lookOrInstall(packages: readonly string[], look: () => Promise<Tool | undefined>, otherwise: Missing) {
  const tool = await look();
  if (tool !== undefined) return found(tool.path, tool.note);
  if (!mayInstall()) return otherwise;
  const problem = await installDebian(packages);
  const installed = await look();
  if (installed !== undefined) return found(installed.path, `${installed.note}, installed`);
  return { missing: `${otherwise.missing}; apt-get: ${problem ?? "installed, and still not to be used"}` };
}

export async function findCelery(): Promise<Tool | undefined> {
  const named = process.env.LOVAGE_TEST_PYTHON;
  for (const python of named === undefined || named === "" ? pythons() : [named]) {
    try {
      const { stdout } = await run(
        python,
        ["-c", "import celery, cryptography, msgpack, redis, yaml; print(celery.__version__)"],
        {
          timeout: 60_000,
        },
      );
      return { path: python, note: `Celery ${stdout.trim()} of ${python}` };
    } catch {
      // Not there, or without Celery: the next one.
    }
  }
  return undefined;
}

function pythons(): string[] {
  const folders = ["/usr/bin", ...(process.env.PATH ?? "").split(delimiter)].filter((folder) => folder !== "");
  const found = new Set<string>();
  for (const folder of folders) {
    if (existsSync(join(folder, "python3"))) found.add(join(folder, "python3"));
  }
  for (const name of existsSync("/usr/bin") ? readdirSync("/usr/bin") : []) {
    if (/^python3\.\d+$/.test(name)) found.add(join("/usr/bin", name));
  }
  return [...found];
}

export async function findAmqpPublish(): Promise<Tool | undefined> {
  return findProgram("amqp-publish", ["/usr/bin"]);
}

export async function findPgbouncer(): Promise<Tool | undefined> {
  return findProgram("pgbouncer", ["/usr/sbin", "/usr/local/sbin"]);
}

/** On PATH, or where Debian puts it. */
function findProgram(name: string, places: readonly string[]): Tool | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), ...places].filter((folder) => folder !== "");
  const path = folders.map((folder) => join(folder, name)).find(existsSync);
  return path === undefined ? undefined : { path, note: path };
}
