/** What workers write for the end of an attempt, and how it travels to the server. */

/** How a worker ends its lease of a job. */
export type SettleKind =
  | 'completed'
  /** No attempt is left, or none is wanted. */
  | 'failed'
  /** The attempt failed and another follows, after `delayMs`. */
  | 'retry'
  /** Postponed by the handler; the attempt does not count. */
  | 'delayed'
  /** Given back unharmed: it never started, or the worker closes. */
  | 'released';

export interface Settlement {
  readonly queueName: string;
  readonly id: string;
  readonly lease: number;
  readonly workerId: string;
  readonly kind: SettleKind;
  /** Where the claim left the row: the text of its `ctid`. A hint: a row that is not there is found by its key. */
  readonly place?: string | undefined;
  /** JSON text. */
  readonly returnvalue?: string | undefined;
  readonly reason?: string | undefined;
  readonly stack?: string | null | undefined;
  readonly delayMs?: number | undefined;
  /** For `delayed`: epoch ms. */
  readonly until?: number | undefined;
  /** ISO 8601; when the attempt began. */
  readonly startedAt?: string | undefined;
  /** JSON text of the lines logged during the attempt. */
  readonly logs?: string | undefined;
  /** ms that the job is kept once completed: 0 deletes it at once, undefined never. Likewise once failed. */
  readonly keepCompletedMs?: number | undefined;
  readonly keepFailedMs?: number | undefined;
  readonly hasParent: boolean;
  /** False: not counted in the metrics, which have refused it. */
  readonly metered?: boolean;
}

/** Columns of the settle statement's input and their types; the keys of the JSON that carries it. */
export const SETTLEMENT_COLUMNS = `queue_name text, id text, lease int, worker text, kind text, returnvalue jsonb, reason text,
  stack text, delay_ms float8, until_ms float8, started_at text, logs jsonb, keep_completed_ms float8, keep_failed_ms float8`;

export const encodeBatch = (batch: readonly Settlement[]): string => `[${batch.map(encode).join(',')}]`;

/** Written by hand, because result and logs are JSON text already. */
function encode(s: Settlement): string {
  let text = `{"queue_name":${JSON.stringify(s.queueName)},"id":${JSON.stringify(s.id)},"lease":${s.lease}`;
  text += `,"worker":${JSON.stringify(s.workerId)},"kind":"${s.kind}"`;
  if (s.returnvalue !== undefined) text += `,"returnvalue":${s.returnvalue}`;
  if (s.reason !== undefined) text += `,"reason":${JSON.stringify(s.reason)}`;
  if (s.stack != null) text += `,"stack":${JSON.stringify(s.stack)}`;
  if (s.delayMs !== undefined) text += `,"delay_ms":${s.delayMs}`;
  if (s.until !== undefined) text += `,"until_ms":${s.until}`;
  if (s.startedAt !== undefined) text += `,"started_at":"${s.startedAt}"`;
  if (s.logs !== undefined) text += `,"logs":${s.logs}`;
  if (s.keepCompletedMs !== undefined) text += `,"keep_completed_ms":${s.keepCompletedMs}`;
  if (s.keepFailedMs !== undefined) text += `,"keep_failed_ms":${s.keepFailedMs}`;
  return `${text}}`;
}
