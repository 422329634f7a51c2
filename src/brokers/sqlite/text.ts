/** Properties and headers as the JSON text that stands in the file, and back. */
import type { WireProperties } from "../../protocol/message.ts";
import { plainHeaders } from "../headers.ts";

/** What of the properties is kept, whatever else the object has. */
const NAMES: (keyof WireProperties)[] = [
  "contentType",
  "contentEncoding",
  "deliveryMode",
  "priority",
  "correlationId",
  "replyTo",
  "expiration",
];

export function propertiesText(properties: WireProperties): string {
  return JSON.stringify(properties, NAMES);
}

export function propertiesOf(text: string): WireProperties {
  return JSON.parse(text);
}

/** @throws {InvalidInputError} a header that no broker carries, by name */
export function headersText(headers: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(plainHeaders(headers));
}

/** An object without prototype. */
export function headersOf(text: string): Record<string, unknown> {
  return Object.setPrototypeOf(JSON.parse(text), null);
}
