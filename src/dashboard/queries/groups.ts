import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, literal } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { inState } from '../../store/rules/states.js';
import { PAGE_TIMEOUT } from './limits.js';

const MAX_GROUPS = 50;
export const GROUP_COUNT_CAP = 1_000;

export interface GroupUse {
  readonly id: string;
  /** Counted up to `GROUP_COUNT_CAP + 1`. */
  readonly waiting: number;
  readonly active: number;
  readonly lastServedAt: Date | null;
}

/** The first groups by id that have waiting or active jobs: by a skip scan of their indexes. */
const selectGroups = statement(
  'dashboard groups',
  ['queue'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const c = alias(db.groupCursors, 'c');
    const of = (state: 'waiting' | 'active') =>
      sql`from ${db.jobs} as ${j} where ${j.queueName} = ${p.queue} and ${inState(j, state)}`;
    const first = (state: 'waiting' | 'active', after: ReturnType<typeof sql>) =>
      sql`(select ${j.groupId} ${of(state)} and ${j.groupId} is not null ${after} order by ${j.groupId} limit 1)`;
    const next = (after: ReturnType<typeof sql>) => sql`least(${first('waiting', after)}, ${first('active', after)})`;
    const count = (state: 'waiting' | 'active') =>
      sql`(select count(*) from (select 1 ${of(state)} and ${j.groupId} = g.id limit ${literal(GROUP_COUNT_CAP + 1)}) n)`;
    return sql`
      with recursive g(id, n) as (
        select ${next(sql``)}, 1
        union all
        select ${next(sql`and ${j.groupId} > g.id`)}, g.n + 1 from g where g.id is not null and g.n < ${literal(MAX_GROUPS)})
      select ${columns(
        sql`g.id`,
        count('waiting'),
        count('active'),
        epochMs(
          sql`(select ${c.lastServedAt} from ${db.groupCursors} as ${c} where ${c.queueName} = ${p.queue} and ${c.groupId} = g.id)`,
        ),
      )}
      from g where g.id is not null order by g.id`;
  },
  { repeatable: true },
);

export async function readGroups(executor: Executor, queue: string): Promise<GroupUse[]> {
  const rows = await executor.run(selectGroups, { queue }, { timeout: PAGE_TIMEOUT });
  return rows.map(([id, waiting, active, served]) => ({
    id: id as string,
    waiting: Number(waiting),
    active: Number(active),
    lastServedAt: served == null ? null : new Date(Number(served)),
  }));
}
