/**
 * What a message asks to be sent after its run: links, errbacks and the next step of its chain (PROTOCOL 6.1, 11.2, 11.6), each a plain
 * signature. Groups and chords are not sent on: that is said in a warning, and never passed over in silence.
 *
 * When the broker is away, what is to be sent waits in the schedule, which sends it on when the broker is back.
 */
import { toFailure } from "../app/failure.ts";
import type { Addressed } from "../app/send.ts";
import type { SignatureCall } from "../app/signature-call.ts";
import type { Clock } from "../kit/clock.ts";
import { messageOf, UnavailableError } from "../kit/errors.ts";
import { newTaskId } from "../kit/ids.ts";
import type { Logger } from "../kit/log.ts";
import type { Ask } from "../pool/asks.ts";
import type { Outcome, TaskFailure } from "../pool/pool.ts";
import { decodeJson, encodeJson, jsonElements } from "../protocol/json.ts";
import type { TaskMessage } from "../protocol/message.ts";
import type { ResultTuple } from "../protocol/result.ts";
import { type Embed, NO_EMBED, readEmbed, type Signature } from "../protocol/signature.ts";
import type { NewCallback } from "../schedule/callback.ts";
import { parked } from "./next-run.ts";
import { type Recorder, shown } from "./record.ts";

export interface FollowersOptions {
  readonly recorder: Recorder;
  readonly ask: Ask;
  readonly park: (callback: NewCallback) => Promise<unknown>;
  /** @throws {InvalidInputError} it cannot be sent so */
  readonly address: (call: SignatureCall) => Addressed;
  readonly clock: Clock;
  readonly log: Logger;
}

type Succeeded = Extract<Outcome, { kind: "succeeded" }>;

/** How the empty fourth part is written, by ours and by Python: most messages end so, and need no look. */
const NOTHING = [
  encodeJson(NO_EMBED),
  '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}',
  '{"callbacks":null,"errbacks":null,"chain":null,"chord":null}',
  '{"callbacks":null,"errbacks":null,"chord":null,"chain":null}',
  "{}",
].map((text) => `${text}]`);

export class Followers {
  readonly #options: FollowersOptions;

  constructor(options: FollowersOptions) {
    this.#options = options;
  }

  /** Whether anything may follow it. */
  has({ body }: TaskMessage): boolean {
    return !NOTHING.some((end) => body.endsWith(end));
  }

  /** Send what follows a success: the outcome with what was sent among its children; or the failure to send it. */
  async onSuccess(message: TaskMessage, outcome: Succeeded): Promise<Outcome> {
    const { callbacks, chain, chord } = embedOf(message);
    const children: ResultTuple[] = [...(outcome.children ?? [])];
    try {
      children.push(...(await this.#sendLinks(message, callbacks ?? [], [outcome.result])));
      const next = chain?.at(-1);
      if (next !== undefined) {
        const call = { signature: next, before: [outcome.result], parent: message, chain: chain?.slice(0, -1) ?? [] };
        if (this.#isPlain(message, next, "the next step of its chain")) children.push(tupleOf(await this.#send(call)));
      }
      if (chord !== null) this.#warnOfChord(message, chord);
    } catch (error) {
      this.#options.log.error(`Task ${shown(message)} succeeded, but what follows it could not be sent`, { error });
      return { kind: "failed", error: toFailure(error), expected: false, children };
    }
    return children.length === 0 ? outcome : { ...outcome, children };
  }

  /** Mark the steps that will not come as failed, and send the errbacks. What cannot be sent is logged. */
  async onFailure(message: TaskMessage, failure: TaskFailure): Promise<void> {
    const { errbacks, chain, chord } = embedOf(message);
    for (const step of chain ?? []) {
      const id = step.options.task_id;
      if (typeof id !== "string" || id === "") continue;
      const { rootId = message.id } = message;
      const lost: TaskMessage = { task: step.task, id, body: "[[], {}, {}]", retries: 0, rootId };
      await this.#options.recorder.failed(lost, undefined, failure);
    }
    try {
      await this.#sendGroup(message, errbacks ?? [], [encodeJson(message.id)], "an errback");
    } catch (error) {
      this.#options.log.error(`An errback of task ${shown(message)} could not be sent`, { error });
    }
    if (chord !== null) this.#warnOfChord(message, chord);
  }

  /** One is sent on its own; several go as a group, as Celery sends them. */
  async #sendLinks(
    parent: TaskMessage,
    links: readonly Signature[],
    before: readonly string[],
  ): Promise<ResultTuple[]> {
    if (links.length > 1) return this.#sendGroup(parent, links, before, "a link");
    const sent: ResultTuple[] = [];
    for (const signature of links) {
      if (!this.#isPlain(parent, signature, "a link")) continue;
      sent.push(tupleOf(await this.#send({ signature, before, parent })));
    }
    return sent;
  }

  async #sendGroup(
    parent: TaskMessage,
    signatures: readonly Signature[],
    before: readonly string[],
    what: string,
  ): Promise<ResultTuple[]> {
    const plain = signatures.filter((each) => this.#isPlain(parent, each, what));
    if (plain.length === 0) return [];
    const id = newTaskId();
    const members: ResultTuple[] = [];
    for (const [index, signature] of plain.entries()) {
      members.push(tupleOf(await this.#send({ signature, before, parent, group: { id, index } })));
    }
    return [[[id, null], members]];
  }

  async #send(call: SignatureCall): Promise<string> {
    const { ask, address, park, clock, log } = this.#options;
    const { message, to, content, queue } = address(call);
    try {
      await ask("publish", { message, to, content });
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      log.warn(`Task ${shown(message)} could not be sent (${messageOf(error)}): it waits in the schedule`);
      await park(parked(message, message.etaMs ?? clock.wallMs(), queue, true));
    }
    return message.id;
  }

  #isPlain(parent: TaskMessage, { task, subtask_type: type, options }: Signature, what: string): boolean {
    if (type === null && !task.startsWith("celery.")) return true;
    const { log } = this.#options;
    log.warn(
      `Task ${shown(parent)}: ${what}, ${task}${type === null ? "" : ` (a ${type})`}, was NOT sent: groups, chords and chains in a message are not sent on yet`,
      { signature: task, ...(typeof options.task_id === "string" ? { id: options.task_id } : {}) },
    );
    return false;
  }

  #warnOfChord(message: TaskMessage, { task }: Signature): void {
    this.#options.log.warn(
      `Task ${shown(message)} is a part of a chord, and its end was NOT counted: chords are not there yet, so the body ${task} may never be sent`,
    );
  }
}

/** Read when it came: it cannot fail now. */
function embedOf(message: TaskMessage): Embed {
  const [, , text = "null"] = jsonElements(message.body);
  return readEmbed(decodeJson(text));
}

function tupleOf(id: string): ResultTuple {
  return [[id, null], null];
}
