import { sql } from 'drizzle-orm';
import type { Executor } from '../db/executor.js';
import { columns, statement } from '../db/statement.js';
import { validateQueueName } from '../model/names.js';
import { CHUNK, type Done, horizon, inChunks, readChunk } from './chunks.js';
import { removal } from './removal.js';

const outlived = removal({
  name: 'remove outlived',
  params: [],
  ended: true,
  where: (j) => sql`${j.removeAt} is not null and ${j.removeAt} < now() and ${j.state} in ('completed', 'failed')`,
  order: (j) => j.removeAt,
}).skipping;

/** Deletes finished jobs whose `removeOnComplete` or `removeOnFail` time has passed; a locked one the next time. */
export async function removeOutlived(executor: Executor): Promise<void> {
  while (readChunk(await executor.run(outlived, { limit: CHUNK })).picked > 0);
}

/** Delayed jobs run now, and are counted where they are. */
const promotion = (wait: boolean) =>
  statement(`promote all${wait ? ' (held)' : ''}`, ['queue', 'seq', 'limit'], (db, p) => {
    const j = db.jobs.of('j');
    const { col } = db.jobs;
    const delayed = sql`${j.queueName} = ${p.queue} and ${j.state} = 'delayed' and abs(${j.seq}) < ${p.seq}::bigint`;
    return sql`
      with picked as materialized (
        select ${j.ctid} from ${db.jobs.as('j')} where ${delayed}
        order by ${j.delayUntil} limit ${p.limit}::int for update${wait ? sql`` : sql` skip locked`}),
      promoted as (
        update ${db.jobs.as('j')} set ${col.state} = 'waiting', ${col.delayUntil} = null
        where ${j.ctid} = any(array(select ctid from picked)) and ${j.state} = 'delayed' returning 1)
      select ${columns(
        sql`(select count(*) from picked)`,
        sql`(select count(*) from promoted)`,
        sql`case when (select count(*) from picked) = 0 then exists (select 1 from ${db.jobs.as('j')} where ${delayed}) end`,
      )}`;
  });
const promoteSkipping = promotion(false);
const promoteWaiting = promotion(true);

/** Makes every job waiting that is delayed when it is called. */
export async function promoteAll(executor: Executor, queueName: string): Promise<Done> {
  const queue = validateQueueName(queueName);
  const { seq } = await horizon(executor);
  return inChunks(async (limit, wait) =>
    readChunk(await executor.run(wait ? promoteWaiting : promoteSkipping, { queue, seq, limit })),
  );
}

const truncate = statement(
  'truncate all',
  [],
  (db) => {
    const all = [db.jobs, db.pausedNames, db.groupCursors, db.rateLimits, db.schedules, db.metrics];
    return sql`truncate ${sql.join(
      all.map(({ table }) => table),
      sql`, `,
    )}`;
  },
  { repeatable: true },
);

/** Empties every table but the migrations: for tests. */
export async function truncateAll(executor: Executor): Promise<void> {
  await executor.run(truncate, {});
}
