/** Hears Celery's control commands (its `Control` step): `inspect`, `control`, a client's `revoke`. Not where the broker is embedded. */
import type { Step } from "../../blueprint/step.ts";
import { QueueRefusedError } from "../../brokers/errors.ts";
import { Mailbox } from "../../control/mailbox.ts";
import { connectionRef } from "../consumer.ts";
import { ABORT_GRACE_MS, remoteControl } from "../remote-control.ts";
import { settingsRef } from "../settings.ts";
import { requestsStep } from "./requests.ts";

type ControlNeeds = { settings: typeof settingsRef; connection: typeof connectionRef; requests: typeof requestsStep };

export const controlStep: Step<undefined, ControlNeeds> = {
  name: "control",
  needs: { settings: settingsRef, connection: connectionRef, requests: requestsStep },
  async start({ settings, connection, requests: { intake, firing } }) {
    const { app, clock, config, hostname, log } = settings;
    if (!config.workerEnableRemoteControl || !(await app.backends.readBroker()).traits.fanout) return {};
    const commands = remoteControl({
      ask: app.gateway.ask,
      requests: intake.requests,
      callbacks: firing,
      untilMs: () => clock.wallMs() + config.revokesExpireMs,
      place: await app.gateway.ask("schedule.place", {}),
      graceMs: ABORT_GRACE_MS,
    });
    try {
      const consumer = await new Mailbox({ node: hostname, settings: config, commands, log }).open(connection);
      return { stop: () => consumer.cancel() };
    } catch (error) {
      if (!(error instanceof QueueRefusedError)) throw error;
      // Of a Python worker that keeps its mailbox to itself, say. Messages are served all the same.
      log.error(
        `No control commands are heard: the node name "${hostname}" is taken (${error.message}); give another: -n NAME@%h`,
      );
      return {};
    }
  },
};
