/**
 * Real Celery on the other side: its `send_task`, its worker, and what others send by hand with amqp-publish.
 * Nothing in the messages is of our making.
 */
import { writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { missingVariable } from "../../scripts/services/service.ts";
import { findAmqpPublish } from "../../scripts/services/tools.ts";
import { type Needed, skipOrFail } from "./needed.ts";
import { Program } from "./processes.ts";
import { runPython, startPython } from "./python.ts";
import { tempDir } from "./temp.ts";

/** One `send_task`. Moments are seconds from the moment it is sent; negative ones are past. */
export interface CelerySend {
  readonly task: string;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  /** Celery's `task_protocol`; 2 is its default. */
  readonly protocol?: 1 | 2;
  /** Created unless it is there: the durable queue, direct exchange and binding of its name. */
  readonly queue: string;
  readonly taskId?: string;
  readonly countdown?: number;
  /** Sent as an absolute moment: `eta=datetime`. */
  readonly etaIn?: number;
  /** Sent as an absolute moment: `expires=datetime`. */
  readonly expiresIn?: number;
  readonly priority?: number;
  readonly headers?: Readonly<Record<string, unknown>>;
  /** True: without the AMQP `expiration`, so that the broker leaves an expired message to the worker. */
  readonly keepExpired?: boolean;
}

// One app a protocol; one process for all sends: starting Python and importing Celery is most of the time it takes.
const SEND = `
import datetime, json, sys
from celery import Celery

order = json.load(sys.stdin)
apps = {}

def app_of(protocol):
    if protocol not in apps:
        app = Celery("interop", broker=order["url"], set_as_current=False)
        app.conf.task_protocol = protocol
        apps[protocol] = app
    return apps[protocol]

def moment(seconds):
    if seconds is None:
        return None
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)

def without_expiration(producer):
    publish = producer.publish
    def publish_without(*args, **kwargs):
        kwargs["expiration"] = None
        return publish(*args, **kwargs)
    producer.publish = publish_without
    return producer

ids = []
for send in order["sends"]:
    app = app_of(send.get("protocol", 2))
    options = {
        name: value
        for name, value in {
            "task_id": send.get("taskId"),
            "countdown": send.get("countdown"),
            "eta": moment(send.get("etaIn")),
            "expires": moment(send.get("expiresIn")),
            "priority": send.get("priority"),
            "headers": send.get("headers"),
        }.items()
        if value is not None
    }
    with app.producer_or_acquire() as producer:
        if send.get("keepExpired"):
            producer = without_expiration(app.amqp.Producer(producer.connection, auto_declare=False))
        result = app.send_task(
            send["task"], send.get("args", []), send.get("kwargs", {}),
            queue=send["queue"], producer=producer, **options
        )
    ids.append(result.id)
print(json.dumps(ids))
`;

/** Send tasks with real Celery, in order, from one Python process (about half a second); answers their ids. */
export async function sendWithCelery(t: TestContext, url: string, sends: readonly CelerySend[]): Promise<string[]> {
  return JSON.parse(await runPython(t, SEND, { input: JSON.stringify({ url, sends }) })) as string[];
}

export interface CeleryWorkerOptions {
  readonly url: string;
  readonly queue: string;
  /** Python: the tasks, with the decorator `@app.task(name=...)` at hand. What they print shows in the program's lines. */
  readonly tasks: string;
  readonly args?: readonly string[];
}

/** A real Celery worker, ready to take messages; ended with its test. */
export async function startCeleryWorker(t: TestContext, options: CeleryWorkerOptions): Promise<Program> {
  const folder = await tempDir(t);
  await writeFile(
    join(folder, "interop_tasks.py"),
    `from celery import Celery\napp = Celery("interop", broker=${JSON.stringify(options.url)})\n` +
      `app.conf.worker_hijack_root_logger = True\napp.conf.worker_redirect_stdouts = False\n${options.tasks}\n`,
  );
  const name = `interop-${crypto.randomUUID()}@${hostname()}`;
  const worker = await startPython(t, {
    cwd: folder,
    args: [
      ...["-m", "celery", "-A", "interop_tasks", "worker", "--loglevel=info", "--concurrency=1", "-n", name],
      ...["-Q", options.queue, "--without-gossip", "--without-mingle", ...(options.args ?? [])],
    ],
    env: {
      C_FORCE_ROOT: "1", // Celery warns root off; a test's worker runs its own tasks alone
      TMPDIR: folder, // Python's multiprocessing leaves a folder there when it is killed
    },
  });
  await worker.waitForLine(/ ready\.$/);
  return worker;
}

async function amqpPublishPath(): Promise<string | undefined> {
  return process.env.LOVAGE_TEST_AMQP_PUBLISH ?? (await findAmqpPublish())?.path;
}

/** @throws in CI, when amqp-publish is not there */
export async function needAmqpPublish(): Promise<Needed> {
  const missing = process.env[missingVariable("LOVAGE_TEST_AMQP_PUBLISH")];
  if (missing !== undefined) return skipOrFail(missing);
  if ((await amqpPublishPath()) !== undefined) return { skip: false };
  return skipOrFail("no amqp-publish on PATH: install amqp-tools");
}

export interface AmqpPublish {
  readonly queue: string;
  readonly body: string;
  /** Not sent unless given. */
  readonly contentType?: string;
  readonly contentEncoding?: string;
  /** Text headers; amqp-publish knows no others. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Publish one message to a queue that exists, with amqp-publish, by the default exchange. */
export async function amqpPublish(t: TestContext, url: string, message: AmqpPublish): Promise<void> {
  const path = await amqpPublishPath();
  if (path === undefined) throw new Error("skip the test unless needAmqpPublish() says that it can run");
  const { hostname: host, port, username, password, pathname } = new URL(url);
  const args = ["--server", host, "--port", port === "" ? "5672" : port];
  args.push(
    "--username",
    decodeURIComponent(username) || "guest",
    "--password",
    decodeURIComponent(password) || "guest",
  );
  args.push("--vhost", decodeURIComponent(pathname.slice(1)) || "/", "--routing-key", message.queue, "--persistent");
  if (message.contentType !== undefined) args.push("--content-type", message.contentType);
  if (message.contentEncoding !== undefined) args.push("--content-encoding", message.contentEncoding);
  for (const [name, value] of Object.entries(message.headers ?? {})) args.push("--header", `${name}: ${value}`);
  const program = new Program(t, path, { args, input: message.body });
  const { status, signal } = await program.ended;
  if (status !== 0) throw new Error(`amqp-publish ended with ${signal ?? status}: ${program.text}`);
}

/** The message of the seed's README, byte for byte: protocol 1, a numeric id, no kwargs. */
export const SEED_MESSAGE = {
  body: '{"task": "demo.foo", "id": 123123, "args": ["foo"]}',
  contentType: "application/json",
  contentEncoding: "utf-8",
} as const;
