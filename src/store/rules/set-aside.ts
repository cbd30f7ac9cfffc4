import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { isRefusal } from '../../db/errors.js';
import type { Row } from '../../db/statement.js';
import type { Jobs } from '../../db/tables.js';

/** A row that was refused is tried again after this time, in ms; after twice as long each time it is refused again. */
const MIN_PAUSE_MS = 2_000;
const MAX_PAUSE_MS = 3_600_000;
/** With more, the trouble is not with single rows: the statement fails, and is tried again later. */
const MAX_SET_ASIDE = 200;
/** How much smaller a refused chunk is tried again. */
const SHRINK = 8;

/**
 * Jobs for which the database has refused a statement that is meant for many: a foreign key of the app's forbids a
 * deletion, a trigger a change. They are passed over for a while, so that one of them does not hold up all others: first
 * for seconds, because the trouble may not be theirs, and in the end for an hour.
 */
export class SetAside {
  /** By the key of a job. */
  readonly #pauses = new Map<string, Pause>();
  readonly #tell: TellSetAside;

  /** @param tell called with each job that is set aside */
  constructor(tell: TellSetAside) {
    this.#tell = tell;
  }

  /** Their keys, as a JSON array: the parameter that `notSetAside` takes. */
  get skip(): string {
    if (this.#pauses.size === 0) return SKIP_NONE;
    const now = performance.now();
    const keys: string[] = [];
    for (const [key, { until, ms }] of this.#pauses) {
      if (until > now) keys.push(key);
      // How long it was set aside is known for as long again.
      else if (until + ms + MIN_PAUSE_MS <= now) this.#pauses.delete(key);
    }
    return JSON.stringify(keys);
  }

  /** ms until the first of them is tried again; undefined when there is none. */
  get endsIn(): number | undefined {
    if (this.#pauses.size === 0) return undefined;
    const now = performance.now();
    const ends = [...this.#pauses.values()].map(({ until }) => until - now).filter((ms) => ms > 0);
    return ends.length === 0 ? undefined : Math.min(...ends);
  }

  /** @throws the error when too many jobs are set aside already */
  add(key: string, error: unknown): void {
    const now = performance.now();
    const active = [...this.#pauses.values()].filter(({ until }) => until > now).length;
    if (active >= MAX_SET_ASIDE) throw error;
    const ms = Math.min(MAX_PAUSE_MS, (this.#pauses.get(key)?.ms ?? MIN_PAUSE_MS / 2) * 2);
    this.#pauses.set(key, { until: now + ms, ms });
    const at = key.indexOf('\n');
    this.#tell({ queueName: key.slice(0, Math.max(0, at)), id: key.slice(at + 1) }, error, ms);
  }
}

interface Pause {
  /** `performance.now()`. */
  readonly until: number;
  readonly ms: number;
}

/** @param pauseMs until it is tried again */
export type TellSetAside = (job: { queueName: string; id: string }, error: unknown, pauseMs: number) => void;

/** Names a job among those of all queues; the name of a queue has no control characters. */
export const jobKey = (j: Jobs): SQL => sql`(${j.queueName} || chr(10) || ${j.id})`;

export const keyOf = ({ queueName, id }: { queueName: string; id: string }): string => `${queueName}\n${id}`;

/** The answer of a statement that selects the key of a job. */
export const firstKey = ([row]: readonly Row[]): string | undefined => row?.[0] ?? undefined;

/** None is set aside. */
export const SKIP_NONE = '[]';

/** Job `j` has not been set aside. */
export const notSetAside = (j: Jobs, skip: SQLWrapper): SQL =>
  sql`not (${jobKey(j)} = any(array(select jsonb_array_elements_text(${skip}::jsonb))))`;

export interface Sparing<T> {
  /** Works off up to `limit` rows that are not set aside. */
  work(limit: number, skip: string): Promise<T>;
  /** The key of the row that `work` with a limit of 1 begins with. */
  head(skip: string): Promise<string | undefined>;
  limit: number;
  aside: SetAside;
  /** Rows that may be refused one after the other. With more, the trouble is not theirs. Default: any number. */
  maxInARow?: number;
}

/** One chunk. Refused, it is tried smaller until the row that is refused stands alone, and is set aside. */
export async function sparing<T>({
  work,
  head,
  limit,
  aside,
  maxInARow = Number.POSITIVE_INFINITY,
}: Sparing<T>): Promise<T> {
  let inARow = 0;
  for (let size = limit; ; ) {
    const { skip } = aside;
    try {
      return await work(size, skip);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (size > 1) {
        size = Math.ceil(size / SHRINK);
        continue;
      }
      const key = await head(skip);
      if (key === undefined || inARow++ >= maxInARow) throw error;
      aside.add(key, error);
      size = limit;
    }
  }
}
