/**
 * Servers and tools that tests need. One that is missing skips the test on a laptop, visibly and saying what to
 * install, and fails it in CI: there a skipped test would be a test that nobody runs.
 *
 * `npm test` looks for what a test file wants by the LOVAGE_TEST_… variables that it, or a helper that it imports, names
 * (scripts/services/). A test file run by hand finds what runs on the default port.
 */
import { probe } from "../../scripts/services/rabbitmq.ts";
import { missingVariable } from "../../scripts/services/service.ts";

/** RabbitMQ for tests; `LOVAGE_TEST_AMQP_URL` names another. */
export const AMQP_URL = process.env.LOVAGE_TEST_AMQP_URL ?? "amqp://guest:guest@127.0.0.1:5672//";

export interface Needed {
  /** For the `skip` option of a test: false when the server is there, else why the test is skipped. */
  readonly skip: string | false;
}

/** @throws in CI, when nobody answers there */
export async function needRabbitmq(): Promise<Needed> {
  const missing = process.env[missingVariable("LOVAGE_TEST_AMQP_URL")];
  if (missing !== undefined) return skipOrFail(missing);
  const refusal = await probe(AMQP_URL);
  if (refusal === undefined) return { skip: false };
  return skipOrFail(`RabbitMQ does not answer: ${refusal}: install rabbitmq-server, or set LOVAGE_TEST_AMQP_URL`);
}

/** The answer for something that is missing. @throws in CI */
export function skipOrFail(why: string): Needed {
  if (process.env.CI === "true" || process.env.CI === "1") throw new Error(why);
  return { skip: why };
}
