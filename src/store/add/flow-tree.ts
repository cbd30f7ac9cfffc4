import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import type { JobRecord } from './insert.js';

/** A job that exists and conflicts with a record of the flow. */
export interface Taken {
  readonly index: number;
  /** The job that is there. */
  readonly id: string;
  /** The deduplication key that it holds; null: the id itself exists. */
  readonly key: string | null;
}

const selectTree = statement(
  'flow tree',
  ['queue', 'id'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`
      with recursive tree(q, id, children) as (
        select ${j.queueName}, ${j.id}, ${j.childrenIds} from ${db.jobs} as ${j}
        where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id}
        union
        select ${j.queueName}, ${j.id}, ${j.childrenIds} from tree
        join ${db.jobs} as ${j} on ${j.parentId} = tree.id and ${j.parentQueueName} = tree.q)
      select ${columns(sql`q`, sql`id`, sql`children`)} from tree`;
  },
  { repeatable: true },
);

interface Key {
  readonly queueName: string;
  readonly id: string;
}

const keyOf = ({ queueName, id }: Key) => `${queueName}\n${id}`;
const idsIn = (json: string | null | undefined): string[] => {
  const list: unknown = JSON.parse(json ?? '[]');
  return Array.isArray(list) ? (list as string[]) : [];
};

/**
 * The ids of the tree that is there, by the place of each job below its parent: a child may have been removed since,
 * and one without a `jobId` was given another id this time. A job that the old tree does not have keeps its own.
 *
 * @param records parents before their children
 */
export async function existingIds(
  executor: Executor,
  records: readonly JobRecord[],
  taken: readonly Taken[],
): Promise<string[]> {
  const ids = new Map<string, string>();
  for (const { index, id } of taken) {
    const key = keyOf(records[index] as JobRecord);
    if (!ids.has(key)) ids.set(key, id);
  }
  const existing = (record: JobRecord): Key => ({
    queueName: record.queueName,
    id: ids.get(keyOf(record)) ?? record.id,
  });
  const byId = new Map(records.map((record) => [record.id, record]));
  const rows = await executor.run(selectTree, { queue: records[0]!.queueName, id: existing(records[0]!).id });
  const tree = new Map(rows.map(([q, id, children]) => [`${q}\n${id}`, children]));
  for (const record of records) {
    const { children_ids: children = [] } = JSON.parse(record.json) as { children_ids?: string[] };
    const there = idsIn(tree.get(keyOf(existing(record))));
    for (const [place, id] of children.entries()) {
      const child = byId.get(id);
      const found = there[place];
      if (child && found !== undefined && !ids.has(keyOf(child))) ids.set(keyOf(child), found);
    }
  }
  return records.map((record) => existing(record).id);
}
