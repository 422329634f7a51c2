/** What every broker must do, as tests. A backend's own test file calls this, and adds what only it can do. */
import { describe } from "node:test";
import type { BrokerTraits } from "../brokers/broker.ts";
import { brokerCarries } from "./broker-carrying.ts";
import { brokerDelivers } from "./broker-consuming.ts";
import { brokerEnds } from "./broker-ending.ts";
import { brokerRefusesToSubscribe, brokerSubscribes } from "./broker-subscribing.ts";
import { BrokerSuite, type BrokerUnderTest } from "./broker-suite.ts";

export type { BrokerUnderTest } from "./broker-suite.ts";

/** A test that hangs is ended; no test depends on it. */
const HANG = { timeout: 60_000 };

/** @param traits.fanout what the broker says of itself: known before it is opened, for the tests that need it */
export function brokerConformance(
  name: string,
  { fanout }: Pick<BrokerTraits, "fanout">,
  open: () => Promise<BrokerUnderTest>,
): void {
  describe(`${name} is a broker`, HANG, () => {
    const suite = new BrokerSuite(open);
    brokerCarries(suite);
    brokerDelivers(suite);
    brokerEnds(suite);
    if (fanout) brokerSubscribes(suite);
    else brokerRefusesToSubscribe(suite);
  });
}
