/** Celery's own client, in a process of its own, that sends as many eta messages as it is told. */
import type { TestContext } from "node:test";
import { startPython } from "../support/python.ts";
import { until } from "../support/until.ts";

/** A safety net: it sends more than a thousand a second. */
const SEND_MS = 1_200_000;

const PYTHON = `
import datetime, sys
from celery import Celery
app = Celery("eta", broker=sys.argv[1], set_as_current=False)
sent = 0
with app.producer_or_acquire() as producer:
    for line in sys.stdin:
        eta = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        for i in range(int(line)):
            app.send_task("eta.later", [sent, "x" * 200], queue=sys.argv[2], eta=eta, producer=producer)
            sent += 1
        print("sent", sent, flush=True)
`;

export interface EtaPublisher {
  /** Resolves when they are with the broker's connection. */
  send(count: number): Promise<void>;
}

export async function etaPublisher(t: TestContext, url: string, queue: string): Promise<EtaPublisher> {
  const python = await startPython(t, { args: ["-c", PYTHON, url, queue], keepInput: true });
  let sent = 0;
  return {
    async send(count) {
      sent += count;
      python.write(`${count}\n`);
      await until(() => python.lines.includes(`sent ${sent}`), SEND_MS);
    },
  };
}
