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
  /**
   * True: not all of the body is kept, because it was longer than the limit (1 MiB: `body` holds its beginning) or because it
   * made room for later ones (`body` is empty). `reason` says so, with the sha256 of the whole.
   */
  readonly truncated: boolean;
  /** Length of the body as it arrived. */
  readonly bodyBytes: number;
}

export interface Quarantine {
  /**
   * Resolves with the record's id when it is durable; ids sort as text in the order of arrival. Whatever arrives is kept: headers
   * and properties as plain data (bytes as `{ base64 }`), bounded, without passwords. When the quarantine is full its oldest make
   * room, first their bodies and then they themselves; it is counted, and said in the log.
   */
  add(message: NewQuarantined): Promise<string>;
  /** Newest first. `before`: the id of the last record of the page before; it may be dropped by now. */
  list(options: { readonly limit: number; readonly before?: string }): Promise<Quarantined[]>;
  get(id: string): Promise<Quarantined | undefined>;
  /** False when there was none. */
  drop(id: string): Promise<boolean>;
  count(): Promise<number>;
  close(): Promise<void>;
}
