/**
 * Where messages are kept that cannot be run: raw bytes, headers, reason. A record is durable before its message is
 * rejected, so nothing that arrives is dropped silently (SEMANTICS G16). Contract; `memory` and `sqlite` beside it.
 */
import type { WireProperties } from "../protocol/message.ts";

export interface NewQuarantined {
  /** Stable code of the refusal, such as ERR_UNKNOWN_TASK. */
  readonly code: string;
  /** One line: what is wrong, and where. */
  readonly reason: string;
  readonly queue: string;
  /** Task name and id, as far as they could be read. */
  readonly task?: string;
  readonly taskId?: string;
  readonly properties: WireProperties;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Uint8Array;
}

export interface Quarantined extends NewQuarantined {
  readonly id: string;
  readonly arrivedMs: number;
  /** True: the body was longer than the limit (1 MiB); `body` holds its beginning, `bodyBytes` its real length. */
  readonly truncated: boolean;
  readonly bodyBytes: number;
}

export interface Quarantine {
  /** Resolves with the record's id when it is durable. */
  add(message: NewQuarantined): Promise<string>;
  /** Newest first. `before`: the id of the last record of the page before. */
  list(options: { readonly limit: number; readonly before?: string }): Promise<Quarantined[]>;
  get(id: string): Promise<Quarantined | undefined>;
  /** False when there was none. */
  drop(id: string): Promise<boolean>;
  count(): Promise<number>;
  close(): Promise<void>;
}
