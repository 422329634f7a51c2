/**
 * The backends of one app, each opened on first use and once: broker, result backend, schedule store, quarantine.
 * A client that only sends opens the broker and nothing else.
 */
import type { Broker } from "../brokers/broker.ts";
import type { Clock } from "../kit/clock.ts";
import type { Logger } from "../kit/log.ts";
import type { ContentFormats } from "../protocol/content.ts";
import type { Quarantine } from "../quarantine/quarantine.ts";
import type { ResultBackend } from "../results/backend.ts";
import type { ScheduleStore } from "../schedule/store.ts";
import type { Config } from "./config.ts";
import { openBroker, openQuarantine, openResultBackend, openScheduleStore } from "./open.ts";

type Which = "broker" | "readBroker" | "results" | "store" | "quarantine";

export class Backends {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #formats: ContentFormats;
  #broker: Promise<Broker> | undefined;
  #readBroker: Promise<Broker> | undefined;
  #results: Promise<ResultBackend> | undefined;
  #store: Promise<ScheduleStore> | undefined;
  #quarantine: Promise<Quarantine> | undefined;

  constructor(config: Config, log: Logger, clock: Clock, formats: ContentFormats) {
    this.#config = config;
    this.#log = log;
    this.#clock = clock;
    this.#formats = formats;
  }

  /** Where messages are sent: `brokerWriteUrl`, else the broker. */
  broker(): Promise<Broker> {
    this.#broker ??= this.#keepUnlessFailed("broker", this.#openBroker(this.#config.brokerWriteUrl));
    return this.#broker;
  }

  /** Where a worker takes messages from: `brokerReadUrl`, else the broker. One and the same where the URL is. */
  readBroker(): Promise<Broker> {
    const { broker, brokerReadUrl = broker, brokerWriteUrl = broker } = this.#config;
    if (brokerReadUrl === brokerWriteUrl) return this.broker();
    this.#readBroker ??= this.#keepUnlessFailed("readBroker", this.#openBroker(brokerReadUrl));
    return this.#readBroker;
  }

  /** @throws {ResultsDisabledError} the app has no result backend */
  results(): Promise<ResultBackend> {
    this.#results ??= this.#keepUnlessFailed("results", this.#openResults());
    return this.#results;
  }

  store(): Promise<ScheduleStore> {
    this.#store ??= this.#keepUnlessFailed("store", openScheduleStore(this.#config, this.#log));
    return this.#store;
  }

  quarantine(): Promise<Quarantine> {
    this.#quarantine ??= this.#keepUnlessFailed("quarantine", openQuarantine(this.#config, this.#log));
    return this.#quarantine;
  }

  /** Close what was opened. Opening that failed is nobody's to close. */
  async close(): Promise<void> {
    const opened = [this.#results, this.#store, this.#quarantine, this.#readBroker, this.#broker];
    this.#results = this.#store = this.#quarantine = this.#readBroker = this.#broker = undefined;
    await Promise.all(
      opened.map((each) =>
        each?.then(
          (backend) => backend.close(),
          () => undefined,
        ),
      ),
    );
  }

  /** Results that are sent go over the broker that tasks are sent to: workers have none other in common with who sends. */
  #openResults(): Promise<ResultBackend> {
    return openResultBackend(this.#config, this.#log, {
      broker: () => this.broker(),
      clock: this.#clock,
      formats: this.#formats,
    });
  }

  #openBroker(url: string | undefined): Promise<Broker> {
    return openBroker(url === undefined ? this.#config : { ...this.#config, broker: url }, this.#log);
  }

  /** A failed opening is forgotten, so that the next call tries again. */
  #keepUnlessFailed<T>(which: Which, opening: Promise<T>): Promise<T> {
    opening.catch(() => {
      if (which === "broker") this.#broker = undefined;
      else if (which === "readBroker") this.#readBroker = undefined;
      else if (which === "results") this.#results = undefined;
      else if (which === "store") this.#store = undefined;
      else this.#quarantine = undefined;
    });
    return opening;
  }
}
