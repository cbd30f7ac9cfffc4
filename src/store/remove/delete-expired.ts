import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { statement } from '../../db/statement.js';
import { firstKey, type SetAside, sparing } from '../rules/set-aside.js';
import { CHUNK, readChunk } from './chunks.js';
import { deletion } from './delete.js';

const expired = deletion({
  name: 'delete expired',
  params: [],
  ended: true,
  where: (j) => sql`${j.removeAt} is not null and ${j.removeAt} < now() and ${j.state} in ('completed', 'failed')`,
  order: (j) => j.removeAt,
});

/** Deletes finished jobs whose `removeOnComplete` or `removeOnFail` time has passed; a locked one the next time. */
export async function deleteExpired(executor: Executor, aside: SetAside): Promise<void> {
  const next = () =>
    sparing({
      work: async (limit, skip) => readChunk(await executor.run(expired.skipping, { limit, skip })),
      head: async (skip) => firstKey(await executor.run(expired.head, { skip })),
      limit: CHUNK,
      aside,
    });
  while ((await next()).picked > 0);
}

const truncate = statement(
  'truncate all',
  [],
  (db) => {
    const all = [db.jobs, db.pausedNames, db.groupCursors, db.rateLimits, db.schedules, db.metrics];
    return sql`truncate ${sql.join(
      all.map((table) => sql`${table}`),
      sql`, `,
    )}`;
  },
  { repeatable: true },
);

/** Empties every table but the migrations: for tests. */
export async function truncateAll(executor: Executor): Promise<void> {
  await executor.run(truncate, {});
}
