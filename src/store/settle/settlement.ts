/** What workers ask to be settled, and how it travels to the server. */

/** How a worker ends its hold on a job. */
export type SettleKind =
  | 'completed'
  /** No attempt is left, or none is wanted. */
  | 'failed'
  /** The attempt failed and another follows, after `delayMs`. */
  | 'retry'
  /** Put off by the handler; the attempt does not count. */
  | 'delayed'
  /** Given back unharmed: it never started, or the worker closes. */
  | 'released';

export interface Settlement {
  readonly queueName: string;
  readonly id: string;
  readonly lease: number;
  readonly workerId: string;
  readonly kind: SettleKind;
  /** JSON text. */
  readonly returnvalue?: string | undefined;
  readonly reason?: string | undefined;
  readonly stack?: string | null | undefined;
  readonly delayMs?: number | undefined;
  /** For `delayed`: epoch ms. */
  readonly until?: number | undefined;
  /** ISO 8601; when the attempt began. */
  readonly startedAt?: string | undefined;
  /** Its number, the first is 1. */
  readonly attempt?: number | undefined;
  /** JSON text of the lines logged during the attempt. */
  readonly logs?: string | undefined;
  /** Once completed: deleted after so many ms, 0 at once, undefined never. Likewise once failed. */
  readonly removeCompletedAfter?: number | undefined;
  readonly removeFailedAfter?: number | undefined;
  readonly hasParent: boolean;
}

export const encodeBatch = (batch: readonly Settlement[]): string => `[${batch.map(encode).join(',')}]`;

function encode(s: Settlement): string {
  let text = `{"q":${JSON.stringify(s.queueName)},"id":${JSON.stringify(s.id)},"lease":${s.lease}`;
  text += `,"worker":${JSON.stringify(s.workerId)},"kind":"${s.kind}"`;
  if (s.returnvalue !== undefined) text += `,"ret":${s.returnvalue}`;
  if (s.reason !== undefined) text += `,"reason":${JSON.stringify(s.reason)}`;
  if (s.stack != null) text += `,"stack":${JSON.stringify(s.stack)}`;
  if (s.delayMs !== undefined) text += `,"delay":${s.delayMs}`;
  if (s.until !== undefined) text += `,"until":${s.until}`;
  if (s.startedAt !== undefined) text += `,"started":"${s.startedAt}"`;
  if (s.logs !== undefined) text += `,"logs":${s.logs}`;
  if (s.removeCompletedAfter !== undefined) text += `,"rc":${s.removeCompletedAfter}`;
  if (s.removeFailedAfter !== undefined) text += `,"rf":${s.removeFailedAfter}`;
  return `${text}}`;
}

/** Nothing but completions whose attempt is known by its number. */
export const allCompleted = (batch: readonly Settlement[]) =>
  batch.every(({ kind, attempt }) => kind === 'completed' && attempt !== undefined);

export function encodeCompleted(batch: readonly Settlement[]): { batch: string; holders: string } {
  const holders = new Map<string, number>();
  const items: string[] = [];
  let last: Settlement | undefined;
  let place = 0;
  for (const one of batch) {
    if (!last || !sameHolder(one, last)) {
      const holder = encodeHolder(one);
      place = holders.get(holder) ?? holders.size + 1;
      holders.set(holder, place);
      last = one;
    }
    const { id, lease, returnvalue, removeCompletedAfter } = one;
    const ret = returnvalue === undefined || returnvalue === 'null' ? '' : `,"ret":${returnvalue}`;
    const rc = removeCompletedAfter === undefined ? '' : `,"rc":${removeCompletedAfter}`;
    items.push(`{"h":${place},"id":${JSON.stringify(id)},"lease":${lease}${ret}${rc}}`);
  }
  return { batch: `[${items.join(',')}]`, holders: `[${[...holders.keys()].join(',')}]` };
}

const sameHolder = (a: Settlement, b: Settlement) =>
  a.startedAt === b.startedAt &&
  a.attempt === b.attempt &&
  a.workerId === b.workerId &&
  a.queueName === b.queueName &&
  a.logs === b.logs;

function encodeHolder({ queueName, workerId, attempt, startedAt, logs = '[]' }: Settlement): string {
  const started = startedAt === undefined ? 'null' : `"${startedAt}"`;
  const record = `{"attempt":${attempt},"startedAt":${started},"status":"completed","error":null,"stacktrace":null,"logs":${logs}}`;
  return `{"q":${JSON.stringify(queueName)},"worker":${JSON.stringify(workerId)},"record":${record}}`;
}
