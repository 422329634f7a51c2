/** Connecting to RabbitMQ, and to what is none: each failure is one line that says what to look at. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect as connectTcp, createServer, type Server, type Socket } from "node:net";
import { describe, type TestContext, test } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import { openRabbitmqBroker, type RabbitmqOptions } from "../../src/brokers/rabbitmq/broker.ts";
import { FakeClock } from "../../src/testing/fake-clock.ts";
import { atEnd } from "../support/cleanup.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";

const { skip } = await needRabbitmq();
const pem = readFileSync(new URL("../fixtures/tls-localhost.pem", import.meta.url), "utf8");

async function refusal(url: string, options?: RabbitmqOptions): Promise<string> {
  const broker = await openRabbitmqBroker(url, options);
  try {
    const connection = await broker.connect({ name: "lovage test", timeoutMs: 20_000 });
    await connection.close();
  } catch (error) {
    assert.equal((error as { code?: string }).code, "ERR_BROKER_UNAVAILABLE");
    const { message } = error as Error;
    assert.doesNotMatch(message, /\n/);
    assert.doesNotMatch(message, /hunter2/);
    assert.ok(message.includes(broker.url), message);
    return message;
  }
  throw new Error("it connected");
}

async function listen(t: TestContext, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(t, async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, "close");
  });
  return (server.address() as AddressInfo).port;
}

describe("a broker that is not there", () => {
  test("names the host that nobody knows", async () => {
    assert.match(
      await refusal("amqp://user:hunter2@no-such-host.invalid//"),
      /host name "no-such-host.invalid" is not known/,
    );
  });

  test("names the port that nobody listens on", async (t) => {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    t.diagnostic(`port ${port}`);

    assert.match(await refusal(`amqp://user:hunter2@127.0.0.1:${port}//`), /nothing listens on 127\.0\.0\.1:\d+/);
    assert.match(await refusal(`amqp://user:hunter2@localhost:${port}//`), /nothing listens on localhost:\d+/);
  });

  test("that speaks something else is told from RabbitMQ", async (t) => {
    const port = await listen(
      t,
      createServer((socket) => void socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")),
    );

    assert.match(await refusal(`amqp://user:hunter2@127.0.0.1:${port}//`), /does not speak AMQP/);
  });

  test("that hangs up is said to", async (t) => {
    const port = await listen(
      t,
      createServer((socket) => void socket.once("data", () => socket.end())),
    );

    assert.match(await refusal(`amqp://user:hunter2@127.0.0.1:${port}//`), /ended the connection before it was open/);
  });

  test("that takes the connection and says nothing is given up after the time allowed", async (t) => {
    const silent = createServer();
    const port = await listen(t, silent);
    const clock = new FakeClock();
    const connected = once(silent, "connection");

    const refused = refusal(`amqp://user:hunter2@127.0.0.1:${port}//`, { clock });
    const [socket] = (await connected) as [Socket];
    const closed = once(socket, "close");
    socket.resume();
    await clock.advance(20_000);

    assert.match(await refused, /no answer within 20 s/);
    await closed;
  });

  test("that speaks TLS where plain was asked for, or the other way round, is said to", async (t) => {
    const tlsPort = await listen(t, createTlsServer({ key: pem, cert: pem }));
    const plainPort = await listen(
      t,
      createServer((socket) => void socket.once("data", () => socket.end("AMQP\0\0\x09\x01"))),
    );

    assert.match(await refusal(`amqp://user:hunter2@127.0.0.1:${tlsPort}//`), /amqps/);
    assert.match(await refusal(`amqps://user:hunter2@127.0.0.1:${plainPort}//`), /TLS|SSL|ssl/);
  });
});

describe("RabbitMQ's handshake", { skip }, () => {
  const at = (change: (url: URL) => void): string => {
    const url = new URL(AMQP_URL);
    change(url);
    return url.href;
  };

  test("a wrong password is refused by the user's name, without the password", async () => {
    const url = at((each) => {
      each.username = "nobody";
      each.password = "hunter2";
    });

    assert.match(await refusal(url), /user "nobody" was refused/);
  });

  test("an unknown virtual host is refused by name", async () => {
    const url = at((each) => {
      each.pathname = "/no-such-vhost";
    });

    assert.match(await refusal(url), /virtual host "no-such-vhost"/);
  });

  test("amqps reaches RabbitMQ behind TLS, and only with a certificate that it can check", async (t) => {
    const target = new URL(AMQP_URL);
    const server = createTlsServer({ key: pem, cert: pem }, (secure) => {
      const plain = connectTcp({ host: target.hostname, port: Number(target.port || 5672) });
      const end = () => {
        secure.destroy();
        plain.destroy();
      };
      secure.on("error", end).on("close", end).pipe(plain).on("error", end).on("close", end).pipe(secure);
    });
    const port = await listen(t, server);
    const url = at((each) => {
      each.protocol = "amqps:";
      each.hostname = "localhost";
      each.port = String(port);
    });

    assert.match(await refusal(url), /certificate/);
    const broker = await openRabbitmqBroker(url, { tls: { ca: pem } });
    const connection = await broker.connect({ name: "lovage test", timeoutMs: 20_000 });
    assert.equal(await connection.depth("lovage-test-no-such-queue"), undefined);
    await connection.close();
  });
});

test("without the package amqplib the first connection says what to install", () => {
  const program = `
    import { registerHooks } from "node:module";
    registerHooks({ resolve(specifier, context, next) {
      if (specifier !== "amqplib") return next(specifier, context);
      throw Object.assign(new Error("Cannot find package 'amqplib'"), { code: "ERR_MODULE_NOT_FOUND" });
    } });
    const { openRabbitmqBroker } = await import(${JSON.stringify(new URL("../../src/brokers/rabbitmq/broker.ts", import.meta.url).href)});
    const broker = await openRabbitmqBroker("amqp://127.0.0.1:1//");
    await broker.connect({ name: "x", timeoutMs: 1_000 }).catch((error) => console.log(error.code, error.message));
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    encoding: "utf8",
  });

  assert.equal(stderr, "");
  assert.match(stdout, /^ERR_MISSING_PEER .*npm install amqplib/);
});
