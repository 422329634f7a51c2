/** A TCP proxy on loopback that a test can cut, as a dead network does. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface TcpProxy {
  readonly port: number;
  /** End every connection at once. */
  sever(): void;
  /** Pass nothing on, either way, from now on, not even an end: the peer is silent, and its connections stay open. */
  freeze(): void;
  /** New connections pass again; those that were frozen stay silent, and open. */
  thaw(): void;
  /** From now on an answer ends its connection, in place of being passed on: what was asked was done, and nobody hears of it. */
  cutAnswers(cut: boolean): void;
  close(): Promise<void>;
}

export async function startTcpProxy(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  const silent = new WeakSet<readonly [Socket, Socket]>();
  let frozen = false;
  let cutting = false;
  const server = createServer((inner) => {
    const outer = connect(target);
    const pair = [inner, outer] as const;
    pairs.add(pair);
    const end = () => {
      // Frozen, the end of one side does not reach the other either: RabbitMQ hangs up on us too when it hears nothing.
      if (frozen || silent.has(pair)) return;
      pairs.delete(pair);
      inner.destroy();
      outer.destroy();
    };
    for (const [from, to] of [pair, [outer, inner]] as const) {
      from.on("data", (chunk) => {
        if (frozen || silent.has(pair)) return;
        if (cutting && from === outer) {
          end();
          return;
        }
        if (!to.write(chunk)) {
          from.pause();
          to.once("drain", () => from.resume());
        }
      });
      from.on("error", end);
      from.on("close", end);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  const sever = () => {
    // Not resetAndDestroy: with a write under way, Node 24 then spins at its exit, waiting for a request that is gone.
    for (const [inner, outer] of pairs) {
      inner.destroy();
      outer.destroy();
    }
    pairs.clear();
  };
  return {
    port: (server.address() as AddressInfo).port,
    sever,
    freeze: () => {
      frozen = true;
    },
    thaw: () => {
      for (const pair of pairs) silent.add(pair);
      frozen = false;
    },
    cutAnswers: (cut) => {
      cutting = cut;
    },
    async close() {
      sever();
      server.close();
      await once(server, "close");
    },
  };
}
