/** What every broker must do, as tests. A backend's own test file calls this, and adds what only it can do. */
import { describe } from "node:test";
import { brokerCarries } from "./broker-carrying.ts";
import { brokerDelivers } from "./broker-consuming.ts";
import { brokerEnds } from "./broker-ending.ts";
import { BrokerSuite, type BrokerUnderTest } from "./broker-suite.ts";

export type { BrokerUnderTest } from "./broker-suite.ts";

/** A test that hangs is ended; no test depends on it. */
const HANG = { timeout: 60_000 };

export function brokerConformance(name: string, open: () => Promise<BrokerUnderTest>): void {
  describe(`${name} is a broker`, HANG, () => {
    const suite = new BrokerSuite(open);
    brokerCarries(suite);
    brokerDelivers(suite);
    brokerEnds(suite);
  });
}
