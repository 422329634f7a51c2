/** A client's side of the mailbox: send a command to workers, and gather what they answer. */
import { randomUUID } from "node:crypto";
import type { BrokerConnection, Consumer } from "../brokers/broker.ts";
import type { Clock } from "../kit/clock.ts";
import type { Logger } from "../kit/log.ts";
import { type ControlCommand, decodeReply, encodeCommand } from "../protocol/pidbox.ts";
import { commandExchange, type MailboxSettings, replyExchange, replyQueue } from "./mailboxes.ts";

export interface MailOptions {
  readonly settings: MailboxSettings;
  readonly clock: Clock;
  readonly log: Pick<Logger, "warn">;
}

/** Tell workers; nobody answers. */
export async function cast(connection: BrokerConnection, command: ControlCommand, options: MailOptions): Promise<void> {
  await send(connection, command, options, 0);
}

/**
 * Ask workers. Resolves when nothing has come for `timeoutMs`, or as many have answered as were named.
 * @returns the answers by node name, in the order they came
 */
export async function call(
  connection: BrokerConnection,
  command: ControlCommand,
  timeoutMs: number,
  options: MailOptions,
): Promise<Record<string, unknown>> {
  const { settings, clock, log } = options;
  const oid = randomUUID();
  const ticket = randomUUID();
  const answers: Record<string, unknown> = {};
  const limit = command.destination?.length ?? Number.POSITIVE_INFINITY;
  const done = Promise.withResolvers<void>();
  let timeout = clock.timeout(() => done.resolve(), timeoutMs);
  let consumer: Consumer | undefined;
  try {
    consumer = await connection.subscribe(replyQueue(oid, settings), ({ message }) => {
      try {
        const reply = decodeReply(message);
        if (reply.ticket !== ticket) return;
        Object.assign(answers, reply.answers);
      } catch (error) {
        log.warn(`a worker's answer could not be read: ${String(error)}`);
      }
      timeout.cancel();
      if (Object.keys(answers).length >= limit) done.resolve();
      else timeout = clock.timeout(() => done.resolve(), timeoutMs);
    });
    await send(connection, command, options, timeoutMs, {
      exchange: replyExchange(settings).name,
      routingKey: oid,
      ticket,
    });
    timeout.cancel();
    if (Object.keys(answers).length < limit) {
      timeout = clock.timeout(() => done.resolve(), timeoutMs);
      await Promise.race([done.promise, connection.closed]);
    }
    return answers;
  } finally {
    timeout.cancel();
    await consumer?.cancel();
  }
}

async function send(
  connection: BrokerConnection,
  command: ControlCommand,
  { settings, clock }: MailOptions,
  timeoutMs: number,
  replyTo?: { readonly exchange: string; readonly routingKey: string; readonly ticket: string },
): Promise<void> {
  const exchange = commandExchange(settings);
  await connection.declareExchange(exchange);
  const expires = timeoutMs === 0 ? 0 : (clock.wallMs() + timeoutMs) / 1_000;
  await connection.publish(
    { exchange: exchange.name, routingKey: "", exchangeType: "fanout", unheard: true },
    encodeCommand(command, { clock: 1, expires, ...(replyTo === undefined ? {} : { replyTo }) }),
  );
}
