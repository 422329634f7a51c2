/** What goes wrong between us and a broker, the same for every broker. Codes stand in `docs/errors.md`. */
import { ContractError, UnavailableError } from "../kit/errors.ts";

/** Nobody answered, or refused us, or the connection is gone. The message says who, why, and what to look at. */
export class BrokerUnavailableError extends UnavailableError {
  readonly code = "ERR_BROKER_UNAVAILABLE";
}

/** A message has nowhere to go: no such queue, or no such exchange. Nothing was taken. */
export class UnroutableError extends ContractError {
  readonly code = "ERR_UNROUTABLE";
  readonly exchange: string;
  readonly routingKey: string;

  constructor(target: { readonly exchange: string; readonly routingKey: string }, options?: ErrorOptions) {
    super(
      target.exchange === ""
        ? `there is no queue ${JSON.stringify(target.routingKey)}: declare it, or start a worker that consumes it, before publishing`
        : `exchange ${JSON.stringify(target.exchange)} has no queue for routing key ${JSON.stringify(target.routingKey)}: declare the queue, or correct exchange and routing key`,
      options,
    );
    this.exchange = target.exchange;
    this.routingKey = target.routingKey;
  }
}

/** A queue that must exist does not. */
export class QueueMissingError extends ContractError {
  readonly code = "ERR_QUEUE_MISSING";
  readonly queue: string;

  constructor(queue: string, wanted: string, options?: ErrorOptions) {
    super(`cannot ${wanted} queue ${JSON.stringify(queue)}: there is none of this name; declare it first`, options);
    this.queue = queue;
  }
}

/** The broker will not let us declare or use a queue: another's exclusive one, or no permission. */
export class QueueRefusedError extends ContractError {
  readonly code = "ERR_QUEUE_REFUSED";
  readonly queue: string;

  constructor(queue: string, reason: string, options?: ErrorOptions) {
    super(`queue ${JSON.stringify(queue)} cannot be used: ${reason}`, options);
    this.queue = queue;
  }
}
