/** Tasks that do to their process what tasks do to processes. */
import { spawn } from "node:child_process";
import { closeSync, writeSync } from "node:fs";
import { currentTask, Lovage } from "lovage";
import { addPoolTasks } from "../../../src/testing/pool-tasks.ts";

export const app = new Lovage("pool-faults");
addPoolTasks(app);

const CHANNEL = 3;
const never = () => new Promise<never>(() => undefined);
const say = (frame: unknown) => writeSync(CHANNEL, `${JSON.stringify(frame)}\n`);

app.task("fault.exit", (status: number) => process.exit(status));
app.task("fault.abort", () => process.abort());
app.task("fault.signal", (signal: NodeJS.Signals) => {
  process.kill(process.pid, signal);
  return never();
});
app.task("fault.uncaught", (message: string) => {
  setImmediate(() => {
    throw new RangeError(message);
  });
  return never();
});
app.task("fault.unhandled", (message: string) => {
  void Promise.reject(new RangeError(message));
  return never();
});
app.task("fault.overflow-later", () => {
  const deeper = (): number => deeper() + 1;
  setImmediate(deeper);
  return never();
});
app.task("fault.busy", () => {
  for (;;);
});
/** Keeps so many MiB for good. */
const hoard: Buffer[] = [];
app.task("fault.hoard", (mib: number) => {
  hoard.push(Buffer.alloc(mib * 1_024 * 1_024, 1));
  return process.pid;
});
app.task("fault.return-and-exit", () => {
  setImmediate(() => process.exit(7));
  return "done before";
});
app.task("fault.busy-afterwards", () => {
  setImmediate(() => {
    for (;;);
  });
  return "left a loop behind";
});

app.task("channel.close", () => {
  closeSync(CHANNEL);
  return never();
});
app.task("channel.garbage", (text: string) => {
  writeSync(CHANNEL, text);
  return never();
});
app.task("channel.frame", async (frames: unknown[], result: unknown) => {
  for (const frame of frames) say(frame);
  return result;
});
app.task("channel.flood", async (bytes: number) => {
  const chunk = "x".repeat(64 * 1024);
  for (let written = 0; written < bytes; ) {
    try {
      written += writeSync(CHANNEL, chunk);
    } catch (error) {
      if ((error as { code?: string }).code !== "EAGAIN") throw error;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  return never();
});
/** A frame of a kind that nobody knows, with the number of the run in it: a real one, as a later version might send. */
app.task("channel.unknown-kind", () => {
  say({ kind: "gossip", text: "from a later version" });
  return "all the same";
});

app.task("big.result", (characters: number) => '"'.repeat(characters));
app.task("big.ask", async (characters: number) => {
  try {
    await app.ask("result.get", { taskId: '"'.repeat(characters) });
    return "answered";
  } catch (error) {
    return (error as { code?: string }).code;
  }
});
app.task("ask.raw", async (op: string, params: unknown) => {
  try {
    return { answer: await app.ask(op as never, params as never) };
  } catch (error) {
    return { code: (error as { code?: string }).code };
  }
});
app.task("ask.and-leave", (taskId: string) => {
  void app.ask("result.get", { taskId });
  return never();
});
app.task("state.late", async (gate: string) => {
  const { updateState } = currentTask();
  setImmediate(
    () => void app.ask("result.get", { taskId: gate }).then(() => updateState("LATE").catch(() => undefined)),
  );
  return currentTask().request.id;
});

app.task("look.pid", () => process.pid);
app.task("look.env", () => process.env);
app.task("look.argv", () => process.execArgv);
app.task("look.modules", () => (globalThis as { loadedModules?: string[] }).loadedModules ?? []);
app.task("look.grandchild", () => {
  const { pid } = spawn("sleep", ["60"], { stdio: "inherit", detached: true });
  setImmediate(() => process.exit(1));
  return pid;
});
/** Catches by itself what nobody else does, and goes on; later somebody kills it. */
app.task("fault.caught-by-itself", async () => {
  process.on("uncaughtException", () => undefined);
  setImmediate(() => {
    throw new Error("caught after all");
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  process.kill(process.pid, "SIGKILL");
  return never();
});
