import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { isRefusal } from '../../db/errors.js';
import type { Row } from '../../db/statement.js';
import type { Jobs } from '../../db/tables.js';

/** A row that was refused is tried again after this time. */
const PAUSE_MS = 3_600_000;
/** With more, the trouble is not with single rows: the statement fails, and is tried again later. */
const MAX_SET_ASIDE = 200;
/** How much smaller a refused chunk is tried again. */
const SHRINK = 8;

/**
 * Jobs for which the database has refused a statement that is meant for many: a foreign key of the app's forbids a
 * deletion, a trigger a change. They are passed over for an hour, so that one of them does not hold up all others.
 */
export class SetAside {
  readonly #until = new Map<string, number>();
  readonly #tell: (id: string, error: unknown) => void;

  /** @param tell called with each job that is set aside, and why */
  constructor(tell: (id: string, error: unknown) => void) {
    this.#tell = tell;
  }

  /** Their ids, as a JSON array: the parameter that `notSetAside` takes. */
  get skip(): string {
    const now = performance.now();
    for (const [id, until] of this.#until) if (until <= now) this.#until.delete(id);
    return JSON.stringify([...this.#until.keys()]);
  }

  /** @throws the error when too many jobs are set aside already */
  add(id: string, error: unknown): void {
    if (this.#until.size >= MAX_SET_ASIDE) throw error;
    this.#until.set(id, performance.now() + PAUSE_MS);
    this.#tell(id, error);
  }
}

/** The answer of a statement that selects an id. */
export const firstId = ([row]: readonly Row[]): string | undefined => row?.[0] ?? undefined;

/** None is set aside. */
export const SKIP_NONE = '[]';

/** Job `j` has not been set aside. */
export const notSetAside = (j: Jobs, skip: SQLWrapper): SQL =>
  sql`not (${j.id} = any(array(select jsonb_array_elements_text(${skip}::jsonb))))`;

export interface Sparing<T> {
  /** Works off up to `limit` rows that are not set aside. */
  work(limit: number, skip: string): Promise<T>;
  /** The id of the row that `work` with a limit of 1 begins with. */
  head(skip: string): Promise<string | undefined>;
  limit: number;
  aside: SetAside;
}

/** One chunk. Refused, it is tried smaller until the row that is refused stands alone, and is set aside. */
export async function sparing<T>({ work, head, limit, aside }: Sparing<T>): Promise<T> {
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
      const id = await head(skip);
      if (id === undefined) throw error;
      aside.add(id, error);
      size = limit;
    }
  }
}
