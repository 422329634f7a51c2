/** A client of either language, seen from the interop matrix: real Celery in a process of its own, or ours. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { type Lovage, TaskError, TaskRevokedError } from "lovage";
import { findCelery } from "../../scripts/services/tools.ts";
import { atEnd } from "./cleanup.ts";

export interface MatrixSend {
  readonly task: string;
  readonly taskId?: string;
  readonly args?: readonly unknown[];
  readonly kwargs?: Readonly<Record<string, unknown>>;
  /** Seconds. */
  readonly countdown?: number;
  readonly etaIn?: number;
  readonly expiresIn?: number;
  readonly priority?: number;
  readonly softTimeLimit?: number;
  readonly timeLimit?: number;
  readonly serializer?: string;
  readonly compression?: string;
}

/** What a client sees at the end. */
export interface MatrixEnd {
  readonly state: string;
  readonly value?: unknown;
  readonly error?: readonly [type: string, ...args: unknown[]];
}

export interface MatrixClient {
  readonly by: "python" | "lovage";
  /** Answers the id. */
  send(order: MatrixSend): Promise<string>;
  end(id: string): Promise<MatrixEnd>;
  state(id: string): Promise<{ readonly state: string; readonly meta: unknown }>;
  /** The stack that the failure came with which `end` has told of; "" if none did. */
  traceback(id: string): string;
  /** @param options.heardBy wait until the workers of these names have answered; what our client revokes is written by then in any case */
  revoke(id: string, options?: { readonly terminate?: boolean; readonly heardBy?: readonly string[] }): Promise<void>;
}

const PATIENCE_SECONDS = 30;

const PYTHON = `
import datetime, json, sys
from celery import Celery
from celery.exceptions import TaskRevokedError
from kombu import Queue
order = json.loads(sys.stdin.readline())
app = Celery("matrix", broker=order["broker"], backend=order["backend"], set_as_current=False)
app.conf.task_queues = [Queue(order["queue"], queue_arguments={"x-max-priority": 10} if order["broker"].startswith("amqp") else None)]
app.conf.task_default_queue = order["queue"]
app.conf.accept_content = ["json", "yaml", "msgpack"]

def moment(seconds):
    return None if seconds is None else datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)

def send(o):
    options = dict(task_id=o.get("taskId"), countdown=o.get("countdown"), eta=moment(o.get("etaIn")), expires=moment(o.get("expiresIn")),
        priority=o.get("priority"), soft_time_limit=o.get("softTimeLimit"), time_limit=o.get("timeLimit"),
        serializer=o.get("serializer"), compression=o.get("compression"))
    options = {name: value for name, value in options.items() if value is not None}
    return app.send_task(o["task"], o.get("args", []), o.get("kwargs", {}), queue=order["queue"], **options).id

def end(o):
    result = app.AsyncResult(o["id"])
    try:
        return {"value": result.get(timeout=${PATIENCE_SECONDS}), "state": result.state}
    except Exception as error:
        return {"state": result.state, "error": [type(error).__name__, *error.args], "traceback": result.traceback}

def state(o):
    result = app.AsyncResult(o["id"])
    info = result.info
    return {"state": result.state, "meta": info if isinstance(info, (dict, list, str, int, type(None))) else repr(info)}

def revoke(o):
    names = o.get("heardBy")
    replies = dict(reply=True, destination=names, limit=len(names), timeout=${PATIENCE_SECONDS}) if names else {}
    answers = app.control.revoke(o["id"], terminate=o.get("terminate", False), **replies)
    if names and len(answers or []) < len(names):
        raise RuntimeError("not all workers have answered: " + repr(answers))

for line in sys.stdin:
    o = json.loads(line)
    try:
        answer = {"answer": globals()[o["do"]](o)}
    except Exception as error:
        answer = {"failed": repr(error)}
    print(json.dumps(answer, default=repr), flush=True)
`;

export interface MatrixPlace {
  readonly broker: string;
  readonly backend: string;
  readonly queue: string;
}

/** One Python process for all that it sends. Orders are answered one after the other. */
export async function pythonClient(t: TestContext, place: MatrixPlace): Promise<MatrixClient> {
  const python = await findCelery();
  if (python === undefined) throw new Error("skip the test unless needCelery() says that it can run");
  const child = spawn(python.path, ["-c", PYTHON], { stdio: ["pipe", "pipe", "inherit"] });
  atEnd(t, async () => void child.kill("SIGKILL"));
  const tracebacks = new Map<string, string>();
  const waiting: { resolve: (answer: unknown) => void; reject: (error: Error) => void }[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { answer, failed } = JSON.parse(line) as { answer?: unknown; failed?: string };
    const next = waiting.shift();
    if (failed === undefined) next?.resolve(answer);
    else next?.reject(new Error(`Python: ${failed}`));
  });
  child.once("exit", () => {
    for (const each of waiting.splice(0)) each.reject(new Error("the Python client has ended"));
  });
  const write = (value: unknown) => child.stdin.write(`${JSON.stringify(value)}\n`);
  write(place);
  const ask = <T>(order: Record<string, unknown>) =>
    new Promise<T>((resolve, reject) => {
      waiting.push({ resolve: resolve as (answer: unknown) => void, reject });
      write(order);
    });
  return {
    by: "python",
    send: (order) => ask<string>({ do: "send", ...order }),
    async end(id) {
      const { traceback, ...end } = await ask<MatrixEnd & { traceback?: string | null }>({ do: "end", id });
      tracebacks.set(id, traceback ?? "");
      return end;
    },
    traceback: (id) => tracebacks.get(id) ?? "",
    state: (id) => ask<{ state: string; meta: unknown }>({ do: "state", id }),
    revoke: async (id, options = {}) => {
      await ask({ do: "revoke", id, ...options });
    },
  };
}

export function lovageClient(app: Lovage): MatrixClient {
  const tracebacks = new Map<string, string>();
  return {
    by: "lovage",
    async send({ task, args = [], kwargs = {}, etaIn, expiresIn, ...options }) {
      const at = (seconds: number) => new Date(Date.now() + seconds * 1_000);
      const result = await app
        .signature(task, {
          args,
          kwargs,
          ...options,
          ...(etaIn === undefined ? {} : { eta: at(etaIn) }),
          ...(expiresIn === undefined ? {} : { expires: at(expiresIn) }),
        })
        .delay();
      return result.id;
    },
    async end(id) {
      const result = app.result(id);
      try {
        const value = await result.get({ timeout: PATIENCE_SECONDS });
        return { state: await result.status(), value };
      } catch (error) {
        const state = await result.status();
        if (error instanceof TaskError) {
          tracebacks.set(id, error.traceback ?? "");
          return { state, error: [error.excType, ...error.excArgs] };
        }
        if (error instanceof TaskRevokedError) return { state, error: ["TaskRevokedError", error.how] };
        throw error;
      }
    },
    traceback: (id) => tracebacks.get(id) ?? "",
    async state(id) {
      const result = app.result(id);
      return { state: await result.status(), meta: await result.info() };
    },
    async revoke(id, { terminate = false } = {}) {
      await app.result(id).revoke({ terminate });
    },
  };
}
