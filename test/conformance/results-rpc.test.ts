/**
 * The rpc backend keeps nothing: a store is a message to the one process that waits. Here each handle stores to one and the same process, and a
 * store is over when its message has come, so that the suite reads what it stored.
 */
import { randomUUID } from "node:crypto";
import type { ResultBackend } from "../../src/results/backend.ts";
import { RpcResults } from "../../src/results/rpc.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { resultBackendConformance } from "../../src/testing/result-backend-conformance.ts";
import { Exchange } from "../unit/results/loopback.ts";

const MARK = `mark-${randomUUID()}`;

resultBackendConformance(
  "rpc",
  async () => {
    const clock = new FakeClock();
    const exchange = new Exchange();
    const reader = new RpcResults({ carrier: exchange.carrier(), expiresMs: 60_000, clock });
    const queue = await reader.replyTo();
    let marks = 0;
    const handle = (): ResultBackend => {
      const own = new RpcResults({ carrier: exchange.carrier(), expiresMs: 60_000, clock });
      let open = true;
      const read = () => (open ? reader : own);
      const watches = new Set<{ stop(): void }>();
      return {
        url: own.url,
        get: async (taskId) => read().get(taskId),
        forget: async (taskId) => read().forget(taskId),
        sweep: async (limit) => read().sweep(limit),
        watch: async (taskId, onChange) => {
          if (taskId !== "") await reader.replyTo(taskId);
          const watch = await read().watch(taskId, onChange);
          watches.add(watch);
          return watch;
        },
        store: async (document, expiresMs) => {
          await own.store(document, expiresMs, { replyTo: queue, correlationId: document.task_id });
          marks += 1;
          const mark = {
            ...document,
            task_id: `${MARK}-${marks}`,
            args: "[]",
            kwargs: "{}",
            children: [],
            result: "1",
          };
          const come = Promise.withResolvers<void>();
          await reader.replyTo(mark.task_id);
          const watch = await reader.watch(mark.task_id, () => come.resolve());
          await own.store(mark, 0, { replyTo: queue });
          await come.promise;
          watch.stop();
          await reader.forget(mark.task_id);
        },
        close: async () => {
          open = false;
          for (const each of watches) each.stop();
          await own.close();
        },
      };
    };
    return {
      backend: handle(),
      again: async () => handle(),
      pass: (ms) => clock.advance(ms),
      close: () => reader.close(),
    };
  },
  { expiryIsReaders: true },
);
