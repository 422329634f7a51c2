/** A carrier in memory: queues of the default exchange, a message to nobody is dropped, and messages come a turn later, as from a broker. */
import type { WireMessage } from "../../../src/protocol/message.ts";
import type { ReplyCarrier, ReplyQueue } from "../../../src/results/rpc.ts";

export class Exchange {
  readonly sent: { readonly queue: string; readonly message: WireMessage }[] = [];
  readonly queues = new Map<string, ReplyQueue>();
  readonly #listeners = new Map<string, (message: WireMessage) => void>();
  /** What the next `listen` is refused with. */
  refuse: Error | undefined;

  carrier(): ReplyCarrier {
    const own: string[] = [];
    return {
      publish: async (queue, message) => {
        this.sent.push({ queue, message });
        const heard = this.#listeners.get(queue);
        if (heard !== undefined) setImmediate(() => heard(message));
      },
      listen: async (queue, onMessage) => {
        if (this.refuse !== undefined) throw this.refuse;
        own.push(queue.name);
        this.queues.set(queue.name, queue);
        this.#listeners.set(queue.name, onMessage);
      },
      close: async () => {
        for (const name of own) {
          this.queues.delete(name);
          this.#listeners.delete(name);
        }
      },
    };
  }
}
