/**
 * A worker's mailbox: hears commands, carries out those that are for it by a table, answers who asked. A command that is wrong, unknown or
 * fails is answered as such, and harms nothing else.
 */
import type { BrokerConnection, Consumer, HeardMessage } from "../brokers/broker.ts";
import { messageOf } from "../kit/errors.ts";
import type { Logger } from "../kit/log.ts";
import { decodeCommand, encodeReply, isFor, type ReceivedCommand } from "../protocol/pidbox.ts";
import { commandQueue, type MailboxSettings, replyExchange } from "./mailboxes.ts";

/** Carries a command out; what it answers is the reply. */
export type Command = (given: Readonly<Record<string, unknown>>) => unknown;

export interface MailboxOptions {
  readonly node: string;
  readonly settings: MailboxSettings;
  /** By Celery's names. */
  readonly commands: ReadonlyMap<string, Command>;
  readonly log: Logger;
}

export class Mailbox {
  readonly #options: MailboxOptions;
  /** Lamport's: above every one that was heard. */
  #clock = 0;

  constructor(options: MailboxOptions) {
    this.#options = options;
  }

  /**
   * Hear commands on this connection, until the answer is cancelled.
   * @throws {QueueRefusedError} the name is another worker's, for itself alone
   */
  async open(connection: BrokerConnection): Promise<Consumer> {
    const { node, settings, log } = this.#options;
    await connection.declareExchange(replyExchange(settings));
    const subscription = await connection.subscribe(commandQueue(node, settings), (heard) =>
      this.#hear(connection, heard),
    );
    if (subscription.others > 0) {
      log.warn(
        `A node named "${node}" is already using this process mailbox: each hears a part of the commands. Give each worker a name of its own: -n NAME@%h`,
      );
    }
    return subscription;
  }

  #hear(connection: BrokerConnection, { message }: HeardMessage): void {
    const { node, log } = this.#options;
    let command: ReceivedCommand;
    try {
      command = decodeCommand(message);
    } catch (error) {
      log.warn(`pidbox: a message that is no command was passed over: ${messageOf(error)}`);
      return;
    }
    this.#clock = Math.max(this.#clock, command.clock) + 1;
    if (!isFor(command, node)) return;
    void this.#carryOut(connection, command);
  }

  async #carryOut(connection: BrokerConnection, { method, arguments: given, replyTo }: ReceivedCommand): Promise<void> {
    const { node, commands, log } = this.#options;
    const command = commands.get(method);
    let answer: unknown;
    if (command === undefined) {
      log.error(`pidbox command error: KeyError(${pythonText(method)}): no such command here`);
      answer = { error: `KeyError(${pythonText(method)})` };
    } else {
      try {
        answer = await command(given);
      } catch (error) {
        log.error(`pidbox command error: ${method}: ${messageOf(error)}`, { error });
        answer = { error: `${error instanceof Error ? error.name : "Error"}(${pythonText(messageOf(error))})` };
      }
    }
    if (replyTo === undefined || replyTo.routingKey === "") return;
    this.#clock += 1;
    const { exchange, routingKey, ticket } = replyTo;
    try {
      await connection.publish(
        { exchange, routingKey, exchangeType: "direct", unheard: true },
        encodeReply(node, answer, ticket, this.#clock),
      );
    } catch (error) {
      log.warn(`pidbox: the answer to ${method} could not be sent: ${messageOf(error)}`);
    }
  }
}

function pythonText(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&").replace(/\n/g, "\\n")}'`;
}
