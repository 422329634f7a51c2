/**
 * RabbitMQ: the one on the default port, else a private node. A private node is an own process on free ports of the
 * loopback interface, with its data, cookie and log in a temporary folder, beside whatever other node the machine
 * runs. Debian's wrappers in /usr/sbin switch to the user `rabbitmq` and its folders, so what lies behind them is called.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "amqplib";
import { installDebian, mayInstall } from "./debian.ts";
import { keep } from "./kept.ts";
import { freePorts } from "./ports.ts";
import { type Ensured, found, inCi, type Missing, type Service } from "./service.ts";
import { addVhost, deleteVhost, listQueues, listVhosts, type Rabbitmqctl, urlOfVhost } from "./vhost.ts";

const DEFAULT_URL = "amqp://guest:guest@127.0.0.1:5672//";
/** Vhosts of runs on a node that was found: the prefix, then the pid of the run. */
const VHOST_PREFIX = "lovage-run-";
const READY_MS = 90_000;
const REMEDY = 'install it ("sudo apt-get install rabbitmq-server"), or name one by LOVAGE_TEST_AMQP_URL';

export const rabbitmq: Service = {
  name: "RabbitMQ",
  variable: "LOVAGE_TEST_AMQP_URL",

  async ensure() {
    const named = process.env.LOVAGE_TEST_AMQP_URL;
    if (named !== undefined && named !== "") {
      const refusal = await probe(named);
      return refusal === undefined
        ? found(named, "named by LOVAGE_TEST_AMQP_URL")
        : { missing: `RabbitMQ: LOVAGE_TEST_AMQP_URL names a server that does not answer: ${refusal}` };
    }

    const refusal = process.env.LOVAGE_TEST_PRIVATE === "1" ? "a private one is wanted" : await probe(DEFAULT_URL);
    if (refusal === undefined) {
      const running = await useFound();
      // Some tests command the node. On a laptop they are skipped; in CI nothing may be, so a node of our own is better.
      if (running.env?.LOVAGE_TEST_RABBITMQCTL !== undefined || !inCi() || findBinaries() === undefined) return running;
    }

    let binaries = findBinaries();
    if (binaries === undefined && mayInstall()) {
      const problem = await installDebian(["rabbitmq-server"]);
      binaries = findBinaries();
      if (binaries === undefined) return { missing: `RabbitMQ: could not be installed: ${problem ?? "no binary"}` };
    }
    if (binaries === undefined) {
      return { missing: `RabbitMQ: none on 127.0.0.1:5672 (${refusal}) and no rabbitmq-server here: ${REMEDY}` };
    }
    return startPrivate(binaries);
  },
};

/** Why nobody can log in there, or undefined: the server is ready. */
export async function probe(url: string): Promise<string | undefined> {
  try {
    const connection = await connect(url, { timeout: 5_000 });
    connection.on("error", () => {});
    await connection.close();
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return message || code || String(error);
  }
}

/** The folder of rabbitmq-server and rabbitmqctl. */
export function findBinaries(): string | undefined {
  const folders = ["/usr/lib/rabbitmq/bin", ...(process.env.PATH ?? "").split(delimiter)];
  folders.push("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin");
  return folders.find((folder) => folder !== "" && existsSync(join(folder, "rabbitmq-server")));
}

/**
 * A node that was found is commanded where its own wrapper lets us: as root. Then the run gets a vhost of its own,
 * so that nothing of it can be left behind. Where it may not, tests use the default one, and names that nobody else has.
 */
async function useFound(): Promise<Ensured> {
  const control: Rabbitmqctl = { command: "/usr/sbin/rabbitmqctl", env: {} };
  if (process.getuid?.() !== 0 || !existsSync(control.command)) return found(DEFAULT_URL, "found on the default port");
  const vhost = `${VHOST_PREFIX}${process.pid}`;
  const url = urlOfVhost(DEFAULT_URL, vhost);
  try {
    for (const stale of await listVhosts(control)) if (isStale(stale)) await deleteVhost(control, stale);
    await addVhost(control, vhost, "guest");
    const refusal = await probe(url);
    if (refusal !== undefined)
      throw new Error(`rabbitmqctl commands another node than the one that answers: ${refusal}`);
  } catch (error) {
    const why = (error instanceof Error ? error.message : String(error)).split("\n", 1)[0];
    return found(DEFAULT_URL, `found on the default port; no vhost of its own: ${why}`);
  }
  return {
    url,
    env: { LOVAGE_TEST_RABBITMQCTL: JSON.stringify(control) },
    started: false,
    note: `found on the default port, vhost ${vhost}`,
    leftovers: () => leftQueues(control, vhost),
    stop: () => deleteVhost(control, vhost),
  };
}

/** A vhost of a run that was killed before it could remove it. */
function isStale(vhost: string): boolean {
  const pid = vhost.startsWith(VHOST_PREFIX) ? Number(vhost.slice(VHOST_PREFIX.length)) : Number.NaN;
  if (!Number.isInteger(pid)) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

async function leftQueues(control: Rabbitmqctl, vhost: string): Promise<string[]> {
  return (await listQueues(control, vhost)).map((queue) => `queue ${queue}`);
}

/** @param advanced Erlang terms for its `advanced.config`: settings that the node has from its start */
export async function startPrivate(binaries: string, advanced = ""): Promise<Ensured | Missing> {
  const began = performance.now();
  const [port, distributionPort, epmdPort] = (await freePorts(3)) as [number, number, number];
  const folder = mkdtempSync(join(tmpdir(), "lovage-rabbitmq-"));
  mkdirSync(join(folder, "home"));
  const cookie = join(folder, "home", ".erlang.cookie");
  writeFileSync(cookie, Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("hex"));
  chmodSync(cookie, 0o400); // Erlang refuses one that others can read
  writeFileSync(join(folder, "env.conf"), ""); // in place of the machine's /etc/rabbitmq/rabbitmq-env.conf
  writeFileSync(join(folder, "plugins"), "[].\n");
  if (advanced !== "") writeFileSync(join(folder, "advanced.config"), advanced);
  writeFileSync(
    join(folder, "rabbitmq.conf"),
    [
      `listeners.tcp.1 = 127.0.0.1:${port}`,
      "disk_free_limit.absolute = 1MB", // the machine's disk is not what is tested
      "log.console = true",
      "log.console.level = warning",
      "log.file = false",
      "",
    ].join("\n"),
  );

  const erlang = {
    HOME: join(folder, "home"),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    ERL_EPMD_PORT: String(epmdPort),
    RABBITMQ_NODENAME: `lovage-${process.pid}-${port}@localhost`,
    RABBITMQ_CONF_ENV_FILE: join(folder, "env.conf"),
  };
  const server = {
    ...erlang,
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq.conf"),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, "advanced.config"),
    RABBITMQ_GENERATED_CONFIG_DIR: join(folder, "config"),
    RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
    RABBITMQ_LOG_BASE: join(folder, "log"),
    RABBITMQ_PID_FILE: join(folder, "pid"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "plugins"),
    // Our own epmd: one that the node starts would outlive it. Interfaces: nothing listens beyond loopback.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
    // With this the script becomes the Erlang machine, in place of waiting for it: one process, one pid.
    RUNNING_UNDER_SYSTEMD: "true",
    NOTIFY_SOCKET: "",
  };
  const path = { PATH: `${process.env.PATH ?? ""}${delimiter}/usr/bin${delimiter}/bin`, LANG: "C.UTF-8" };
  const log = join(folder, "rabbitmq.log");
  const kept = keep({
    folder,
    commands: [
      { command: "epmd", args: ["-port", String(epmdPort), "-address", "127.0.0.1"], env: path, cwd: folder, log },
      { command: join(binaries, "rabbitmq-server"), args: [], env: { ...path, ...server }, cwd: folder, log },
    ],
  });

  const url = `amqp://guest:guest@127.0.0.1:${port}//`;
  const refusal = await ready(url, kept.ended);
  if (refusal !== undefined) {
    const said = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").slice(-12).join("\n  ") : "";
    await kept.stop();
    return { missing: `RabbitMQ: a private node did not start: ${refusal}\n  ${said}` };
  }
  const control: Rabbitmqctl = { command: join(binaries, "rabbitmqctl"), env: erlang };
  return {
    url,
    env: { LOVAGE_TEST_RABBITMQCTL: JSON.stringify(control) },
    started: true,
    note: `started privately in ${((performance.now() - began) / 1000).toFixed(1)} s`,
    leftovers: () => leftQueues(control, "/"),
    stop: kept.stop,
  };
}

/** Undefined when the server answers; else why it never will. */
async function ready(url: string, ended: Promise<string>): Promise<string | undefined> {
  let death: string | undefined;
  void ended.then((how) => {
    death = how;
  });
  const deadline = performance.now() + READY_MS;
  for (;;) {
    const refusal = await probe(url);
    if (refusal === undefined) return undefined;
    if (death !== undefined) return death;
    if (performance.now() > deadline) return refusal;
    await sleep(150);
  }
}
