/**
 * The backends of one app, each opened on first use and once: broker, result backend, schedule store, quarantine.
 * A client that only sends opens the broker and nothing else.
 */
import type { Broker } from "../brokers/broker.ts";
import type { Logger } from "../kit/log.ts";
import type { Quarantine } from "../quarantine/quarantine.ts";
import type { ResultBackend } from "../results/backend.ts";
import type { ScheduleStore } from "../schedule/store.ts";
import type { Config } from "./config.ts";
import { openBroker, openQuarantine, openResultBackend, openScheduleStore } from "./open.ts";

export class Backends {
  readonly #config: Config;
  readonly #log: Logger;
  #broker: Promise<Broker> | undefined;
  #results: Promise<ResultBackend> | undefined;
  #store: Promise<ScheduleStore> | undefined;
  #quarantine: Promise<Quarantine> | undefined;

  constructor(config: Config, log: Logger) {
    this.#config = config;
    this.#log = log;
  }

  broker(): Promise<Broker> {
    this.#broker ??= this.#keepUnlessFailed("broker", openBroker(this.#config, this.#log));
    return this.#broker;
  }

  /** @throws {ResultsDisabledError} the app has no result backend */
  results(): Promise<ResultBackend> {
    this.#results ??= this.#keepUnlessFailed("results", openResultBackend(this.#config, this.#log));
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
    const opened = [this.#results, this.#store, this.#quarantine, this.#broker];
    this.#results = this.#store = this.#quarantine = this.#broker = undefined;
    await Promise.all(
      opened.map((each) =>
        each?.then(
          (backend) => backend.close(),
          () => undefined,
        ),
      ),
    );
  }

  /** A failed opening is forgotten, so that the next call tries again. */
  #keepUnlessFailed<T>(which: "broker" | "results" | "store" | "quarantine", opening: Promise<T>): Promise<T> {
    opening.catch(() => {
      if (which === "broker") this.#broker = undefined;
      else if (which === "results") this.#results = undefined;
      else if (which === "store") this.#store = undefined;
      else this.#quarantine = undefined;
    });
    return opening;
  }
}
