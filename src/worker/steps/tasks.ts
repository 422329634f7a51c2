/**
 * Consumes the worker's queues (Celery's Tasks step), and declares RabbitMQ's delayed delivery where it is in use (its DelayedDelivery step).
 * Stopping it takes nothing more in, and lets what runs finish.
 */
import type { Step } from "../../blueprint/step.ts";
import type { BrokerConnection, Consumer, Delivery } from "../../brokers/broker.ts";
import type { Queue } from "../../brokers/topology.ts";
import { sleep } from "../../kit/deadline.ts";
import { UnavailableError } from "../../kit/errors.ts";
import { connectionRef } from "../consumer.ts";
import { Fetching } from "../fetching.ts";
import type { Intake } from "../intake.ts";
import { settingsRef, type WorkerSettings } from "../settings.ts";
import { undelayed } from "../undelayed.ts";
import { requestsStep } from "./requests.ts";

type TasksNeeds = { settings: typeof settingsRef; connection: typeof connectionRef; requests: typeof requestsStep };

const MAX_PREFETCH = 65_535;

/** As Celery's: three tries, a second apart. */
const DELAY_TRIES = 3;
const DELAY_PAUSE_MS = 1_000;

export const tasksStep: Step<undefined, TasksNeeds> = {
  name: "tasks",
  stopTimeoutMs: Number.POSITIVE_INFINITY,
  needs: { settings: settingsRef, connection: connectionRef, requests: requestsStep },
  async start({ settings, connection, requests: { intake, slots } }) {
    const { consumed, concurrency, config, log } = settings;
    for (const queue of consumed.queues) await connection.declareQueue(queue);
    await declareDelayedDelivery(connection, settings);
    await purgeOnce(connection, settings);
    if (!config.workerDisablePrefetch) {
      await connection.setPrefetch(prefetchOf(config.workerPrefetchMultiplier * concurrency, settings));
    }
    let fetching: Fetching | undefined;
    const consuming = new QueueConsumers(connection, (delivery) => {
      intake.receive(delivery);
      // What waits for its rate now takes no slot, and would not be noticed.
      fetching?.notice();
    });
    // Before the first of them is consumed: one that is added meanwhile is not left out.
    consumed.attach(consuming);
    let lost = false;
    void connection.closed.then((reason) => {
      lost = true;
      if (reason !== undefined) intake.connectionLost();
      consumed.detach(consuming);
    });
    if (!config.workerDisablePrefetch) await consuming.resume(consumed.queues);
    else {
      fetching = new Fetching({
        room: () => slots.room,
        held: () => heldBy(intake, settings),
        async consume(window) {
          await connection.setPrefetch(prefetchOf(window, settings));
          await consuming.resume(consumed.queues);
        },
        pause: () => consuming.pause(),
        log,
      });
      slots.onRoom(fetching.notice);
      await fetching.start();
    }
    return {
      async stop() {
        await fetching?.stop();
        consumed.detach(consuming);
        await consuming.endAll();
        await intake.returnWaiting();
        // On a lost connection the broker has taken back everything: what runs goes on, and its acks go nowhere.
        if (!lost) await Promise.race([intake.idle(), connection.closed]);
      },
    };
  },
};

/** AMQP has 16 bits for it. Celery takes more for no limit at all. */
function prefetchOf(wanted: number, { log }: WorkerSettings): number {
  if (wanted <= MAX_PREFETCH) return wanted;
  log.warn(`A prefetch of ${wanted} is more than AMQP can say: it is ${MAX_PREFETCH}`);
  return MAX_PREFETCH;
}

/**
 * Messages that stay unacknowledged while others are taken. An early acknowledgement is on its way: counted, it would make room for two. What
 * waits for its rate counts up to the usual window: others go past it, and not all of a queue comes here to wait.
 */
function heldBy(intake: Intake, { config, concurrency }: WorkerSettings): number {
  const late = [...intake.requests].filter(({ running, strategy }) => running && strategy.policy.acksLate).length;
  const most = Math.min(config.workerPrefetchMultiplier * concurrency || MAX_PREFETCH, MAX_PREFETCH - concurrency);
  return late + Math.min(intake.waitingForRate, most - 1);
}

/** The consumers of one connection, by queue. */
class QueueConsumers {
  readonly #connection: BrokerConnection;
  readonly #receive: (delivery: Delivery) => void;
  readonly #consumers = new Map<string, Promise<Consumer>>();
  /** Until it is told to begin. */
  #paused = true;

  constructor(connection: BrokerConnection, receive: (delivery: Delivery) => void) {
    this.#connection = connection;
    this.#receive = receive;
  }

  async begin(queue: Queue): Promise<void> {
    await this.#connection.declareQueue(queue);
    await this.consume(queue);
  }

  /** Consume what is not consumed. */
  async resume(queues: readonly Queue[]): Promise<void> {
    this.#paused = false;
    await Promise.all(queues.map((queue) => this.consume(queue)));
  }

  /** Consume none of them, until `resume`. What was asked to be consumed meanwhile waits for that as well. */
  async pause(): Promise<void> {
    this.#paused = true;
    await this.endAll();
  }

  /** Once for each queue. */
  async consume(queue: Queue): Promise<void> {
    if (this.#paused) return;
    if (this.#consumers.has(queue.name)) {
      await this.#consumers.get(queue.name);
      return;
    }
    const consumer = this.#connection.consume(queue, (delivery) => this.#receive(undelayed(delivery, queue)));
    this.#consumers.set(queue.name, consumer);
    try {
      await consumer;
    } catch (error) {
      this.#consumers.delete(queue.name);
      throw error;
    }
  }

  async end(name: string): Promise<void> {
    const consumer = this.#consumers.get(name);
    this.#consumers.delete(name);
    await (await consumer)?.cancel();
  }

  async endAll(): Promise<void> {
    await Promise.all([...this.#consumers.keys()].map((name) => this.end(name).catch(() => undefined)));
  }
}

/** So that what clients delay arrives. A failure is logged and no more: messages that are not delayed come in any case. */
async function declareDelayedDelivery(connection: BrokerConnection, settings: WorkerSettings): Promise<void> {
  const { app, config, clock, log, consumed } = settings;
  if (!config.workerDetectQuorumQueues || !app.queues.hasQuorum) return;
  if (connection.declareDelayedDelivery === undefined) return;
  const byName = new Map([...app.queues.all, ...consumed.queues].map((each) => [each.name, each]));
  const led = [...byName.values()].filter(({ exchange }) => exchange.type !== "direct");
  const direct = [...byName.values()].filter(({ exchange }) => exchange.type === "direct");
  if (direct.length > 0) {
    const names = direct.map((each) => each.name).join(", ");
    log.info(
      `Delayed delivery does not lead to ${names}: exchange type direct. Messages with an eta wait in the schedule`,
    );
  }
  for (let tries = 1; ; tries += 1) {
    try {
      return await connection.declareDelayedDelivery(led, config.brokerNativeDelayedDeliveryQueueType);
    } catch (error) {
      if (error instanceof UnavailableError) throw error;
      if (tries >= DELAY_TRIES) {
        log.error("Delayed delivery could not be declared; messages that clients delay may not arrive", { error });
        return;
      }
      await sleep(DELAY_PAUSE_MS, clock);
    }
  }
}

/** Celery's --purge: what waits before the worker consumes for the first time is dropped. */
async function purgeOnce(connection: BrokerConnection, settings: WorkerSettings): Promise<void> {
  if (!settings.purge.wanted) return;
  for (const queue of settings.consumed.queues) {
    const dropped = await connection.purge(queue.name);
    settings.log.warn(`purge: Erased ${dropped} message${dropped === 1 ? "" : "s"} from the queue ${queue.name}.`);
  }
  settings.purge.wanted = false;
}
