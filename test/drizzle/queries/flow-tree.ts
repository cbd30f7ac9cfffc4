// flow-tree.ts
import { type SQL, sql } from 'drizzle-orm';
import { db, jobs } from './db.js';

const columns = (depth: SQL, path: SQL) =>
  sql`j.queue_name, j.id, j.name, j.state, j.failed_reason, ${depth} as depth, ${path} as path`;

export const flowTree = (queueName: string, rootId: string) =>
  db
    .select({
      depth: sql<number>`depth`,
      queue: sql<string>`queue_name`,
      id: sql<string>`id`,
      job: sql<string>`name`,
      state: sql<string>`state`,
      failedReason: sql<string | null>`failed_reason`,
    })
    .from(
      sql`(
        with recursive tree as (
          select ${columns(sql`0`, sql`array[j.seq]`)} from ${jobs} j
          where j.queue_name = ${queueName} and j.id = ${rootId}
          union all
          select ${columns(sql`tree.depth + 1`, sql`tree.path || j.seq`)} from ${jobs} j
          join tree on j.parent_id = tree.id and j.parent_queue_name = tree.queue_name
        )
        select * from tree
      ) tree`,
    )
    .orderBy(sql`path`);
