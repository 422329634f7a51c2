/**
 * Servers that tests need. `npm test` looks for what a test file wants by the LOVAGE_TEST_… variables that it, or a helper
 * that it imports, names (scripts/services/). A test file run by hand finds what runs on the default port.
 */
import { probe } from "../../scripts/services/rabbitmq.ts";
import { missingVariable } from "../../scripts/services/service.ts";
import { type Needed, skipOrFail } from "./needed.ts";

/** RabbitMQ for tests; `LOVAGE_TEST_AMQP_URL` names another. */
export const AMQP_URL = process.env.LOVAGE_TEST_AMQP_URL ?? "amqp://guest:guest@127.0.0.1:5672//";

/** @throws in CI, when nobody answers there */
export async function needRabbitmq(): Promise<Needed> {
  const missing = process.env[missingVariable("LOVAGE_TEST_AMQP_URL")];
  if (missing !== undefined) return skipOrFail(missing);
  const refusal = await probe(AMQP_URL);
  if (refusal === undefined) return { skip: false };
  return skipOrFail(`RabbitMQ does not answer: ${refusal}: install rabbitmq-server, or set LOVAGE_TEST_AMQP_URL`);
}
