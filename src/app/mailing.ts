/** Sends control commands on the producer's connection. An embedded broker carries none: there the schedule tells its workers what it must. */
import type { Broker } from "../brokers/broker.ts";
import { call, cast, type MailOptions } from "../control/mail.ts";
import { InvalidInputError } from "../kit/errors.ts";
import type { ControlCommand } from "../protocol/pidbox.ts";
import type { Producer } from "./producer.ts";

export interface MailingOptions extends MailOptions {
  readonly broker: () => Promise<Broker>;
  readonly producer: Producer;
}

export class Mailing {
  readonly #options: MailingOptions;

  constructor(options: MailingOptions) {
    this.#options = options;
  }

  /** Nobody to tell on an embedded broker is no error. */
  async cast(command: ControlCommand): Promise<void> {
    const { broker, producer } = this.#options;
    if (!(await broker()).traits.fanout) return;
    await cast(await producer.connection(), command, this.#options);
  }

  /** @throws {InvalidInputError} the broker is embedded */
  async call(command: ControlCommand, timeoutMs: number): Promise<Record<string, unknown>> {
    const { broker, producer } = this.#options;
    const { url, traits } = await broker();
    if (!traits.fanout) {
      throw new InvalidInputError(`${command.method}: ${url} carries no control commands; RabbitMQ and Redis do`);
    }
    return call(await producer.connection(), command, timeoutMs, this.#options);
  }
}
