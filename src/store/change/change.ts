import { type SQL, sql } from 'drizzle-orm';
import { columns, type Row, type Statement, statement } from '../../db/statement.js';
import { alias, type Tables } from '../../db/tables.js';
import type { JobState } from '../../model/job.js';
import type { ParentChange } from '../rules/cascade.js';

/** What a change found and did. */
export interface ChangeAnswer {
  /** The state before; null: there is no such job. */
  readonly found: JobState | null;
  readonly done: boolean;
  /** The state after; null: there is no such job any more. */
  readonly became: JobState | null;
  readonly parents: ParentChange[];
}

/**
 * The rows of a change: `job`, the state before, whether it was done, the state after; then one per ancestor that
 * changed: `parent`, queue, id, state, reason.
 */
export function readAnswer(rows: readonly Row[]): ChangeAnswer {
  let job: Row | undefined;
  const parents: ParentChange[] = [];
  for (const row of rows) {
    const [kind, queueName, id, state, reason] = row as string[];
    if (kind === 'job') job = row;
    else
      parents.push({ queueName: queueName!, id: id!, state: state as ParentChange['state'], reason: reason ?? null });
  }
  return {
    found: (job?.[1] ?? null) as JobState | null,
    done: job?.[2] === 'true',
    became: (job?.[3] ?? null) as JobState | null,
    parents,
  };
}

type Slots<K extends string> = Readonly<Record<K | 'queue' | 'id', SQL>>;

interface Change {
  /** Whether row `j` may be changed. */
  allowed: SQL;
  set: SQL;
}

/**
 * A statement that changes one job and nothing else. The row is locked first: whether it may be changed is decided on its
 * newest version, and the answer says what that was.
 */
export function change<const K extends string>(
  name: string,
  params: readonly K[],
  change: (db: Tables, p: Slots<K>) => Change,
  options: { repeatable?: boolean } = {},
): Statement<K | 'queue' | 'id'> {
  return statement(
    name,
    ['queue', 'id', ...params],
    (db, p) => {
      const j = alias(db.jobs, 'j');
      const { allowed, set } = change(db, p as Slots<K>);
      const own = sql`${j.queueName} = ${p.queue} and ${j.id} = ${p.id}`;
      return sql`
        with found as materialized (
          select ${j.state} as state, ${allowed} as allowed from ${db.jobs} as ${j} where ${own} for update),
        changed as (
          update ${db.jobs} as ${j} set ${set} from found where ${own} and found.allowed returning ${j.state} as state)
        select ${columns(
          sql`'job'`,
          sql`found.state`,
          sql`found.allowed`,
          sql`coalesce(changed.state, found.state)`,
          sql`null`,
        )} from found left join changed on true`;
    },
    options,
  );
}
