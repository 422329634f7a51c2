/**
 * `lovage/testing`: time that a test owns, and the suites that every backend passes. Who writes a backend of their own calls
 * its suite in a file of `node:test`.
 */
export { brokerConformance } from "./broker-conformance.ts";
export { FakeClock, type FakeClockOptions } from "./fake-clock.ts";
export { poolConformance } from "./pool-conformance.ts";
export { quarantineConformance } from "./quarantine-conformance.ts";
export { resultBackendConformance } from "./result-backend-conformance.ts";
export { scheduleStoreConformance } from "./schedule-store-conformance.ts";
