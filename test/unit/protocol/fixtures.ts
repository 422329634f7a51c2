/** The captures of `test/fixtures/`, read as the messages that they were. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { WireMessage, WireProperties } from "../../../src/protocol/message.ts";

const FOLDER = new URL("../../fixtures/", import.meta.url);

export function fixturePath(name: string): string {
  return fileURLToPath(new URL(name, FOLDER));
}

export function fixtureText(name: string): string {
  return readFileSync(new URL(name, FOLDER), "utf8");
}

export function fixture<T>(name: string): T {
  return JSON.parse(fixtureText(name)) as T;
}

interface Vectors {
  readonly json_typed_values: readonly {
    readonly python?: string;
    readonly json_text: string;
    readonly back: string | { readonly error: string };
  }[];
  readonly saferepr: readonly {
    readonly python_repr_of_input: string;
    readonly maxlen?: number;
    readonly saferepr: string;
  }[];
  readonly iso8601_for_eta_and_expires: readonly {
    readonly input: string;
    readonly parsed: string | null | { readonly error: string };
  }[];
}

export const vectors = fixture<Vectors>("vectors.json");

export interface Captured {
  readonly broker: "rabbitmq" | "redis";
  readonly file: string;
  readonly scenario: string;
  readonly wire: WireMessage;
  readonly decoded: unknown;
}

interface Properties {
  readonly content_type?: string;
  readonly content_encoding?: string;
  readonly delivery_mode?: 1 | 2;
  readonly priority?: number;
  readonly correlation_id?: string;
  readonly reply_to?: string;
  readonly expiration?: string;
}

interface Envelope {
  readonly "content-type": string;
  readonly "content-encoding": string;
  readonly headers: Record<string, unknown>;
  readonly properties: Properties;
  readonly body: string;
}

export interface Message {
  readonly properties?: Properties;
  readonly headers?: Record<string, unknown>;
  readonly body?: string;
  readonly envelope?: Envelope;
  readonly body_decoded?: unknown;
}

/** Every task message captured from Celery's client, from both brokers. */
export function capturedMessages(kind: "basic" | "canvas" | "stamps" | "encoding" | "v1"): Captured[] {
  return (["rabbitmq", "redis"] as const).flatMap((broker) => {
    const file = `task_messages.${broker}.${kind}.json`;
    const { scenarios } = fixture<{ scenarios: Record<string, { messages: Message[] }> }>(file);
    return Object.entries(scenarios).flatMap(([scenario, { messages }]) =>
      messages.map((message) => ({ broker, file, scenario, wire: wireOf(message), decoded: message.body_decoded })),
    );
  });
}

export function wireOf({ properties = {}, headers = {}, body = "", envelope }: Message): WireMessage {
  if (envelope !== undefined) {
    return {
      body: Buffer.from(envelope.body, "base64"),
      properties: propertiesOf({
        ...envelope.properties,
        content_type: envelope["content-type"],
        content_encoding: envelope["content-encoding"],
      }),
      headers: envelope.headers,
    };
  }
  return { body: Buffer.from(body, "base64"), properties: propertiesOf(properties), headers };
}

export function propertiesOf(properties: Properties): WireProperties {
  const named: [keyof WireProperties, unknown][] = [
    ["contentType", properties.content_type],
    ["contentEncoding", properties.content_encoding],
    ["deliveryMode", properties.delivery_mode],
    ["priority", properties.priority],
    ["correlationId", properties.correlation_id],
    ["replyTo", properties.reply_to],
    ["expiration", properties.expiration],
  ];
  return Object.fromEntries(named.filter(([, value]) => value !== undefined && value !== null));
}
