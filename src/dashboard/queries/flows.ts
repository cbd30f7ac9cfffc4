import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Row, statement } from '../../db/statement.js';
import { alias, type Jobs, literal } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import type { JobState } from '../../model/job.js';
import { exactTime, type Place } from './keyset.js';
import { PAGE_SIZE, PAGE_TIMEOUT } from './limits.js';

export const MAX_NODES = 300;
const MAX_DEPTH = 20;

/** A job of a flow, without its payload. */
export interface FlowJob {
  readonly queueName: string;
  readonly id: string;
  readonly name: string;
  readonly state: JobState;
  readonly progress: number;
  readonly createdAt: Date | null;
  readonly endedAt: Date | null;
  readonly children: number;
  /** Children that have not ended. */
  readonly pending: number;
  /** Where a page that ends with it goes on. */
  readonly place: Place;
  readonly parentKey: string | null;
}

export const keyOf = (queueName: string, id: string): string => `${queueName}\n${id}`;

const CELLS = [
  'q',
  'id',
  'name',
  'state',
  'progress',
  'created',
  'ended',
  'children',
  'pending',
  'seq',
  'pq',
  'pid',
  'at',
];

/** The cells of a node under these names, for a table that is not the last. */
function cells(j: Jobs): SQL {
  const children = sql`case jsonb_typeof(${j.childrenIds}) when 'array' then jsonb_array_length(${j.childrenIds}) else 0 end`;
  const values = [
    ...[j.queueName, j.id, j.name, j.state, j.progress, j.createdAt, sql`coalesce(${j.completedAt}, ${j.failedAt})`],
    ...[children, j.pendingChildrenCount, j.seq, j.parentQueueName, j.parentId],
    exactTime(j.createdAt),
  ];
  return sql.join(
    values.map((value, i) => sql`${value} as ${sql.raw(CELLS[i]!)}`),
    sql`, `,
  );
}

const output = (from: string): SQL =>
  columns(
    ...CELLS.map((name) => {
      const cell = sql.raw(`${from}.${name}`);
      return name === 'created' || name === 'ended' ? epochMs(cell) : cell;
    }),
  );

function readNode(row: Row): FlowJob {
  const [queueName, id, name, state, progress, created, ended, children, pending, seq, parentQueue, parentId, at] =
    row as string[];
  return {
    queueName: queueName!,
    id: id!,
    name: name!,
    state: state as JobState,
    progress: Number(progress),
    createdAt: created == null ? null : new Date(Number(created)),
    endedAt: ended == null ? null : new Date(Number(ended)),
    children: Number(children),
    pending: Number(pending),
    place: { at: at!, seq: seq! },
    parentKey: parentId == null ? null : keyOf(parentQueue!, parentId),
  };
}

const selectRoots = statement(
  'dashboard flows',
  ['at', 'seq', 'limit'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`select ${output('r')} from (
      select ${cells(j)} from ${db.jobs} as ${j}
      where ${j.childrenIds} <> '[]'::jsonb and ${j.parentId} is null
        and (${j.createdAt}, ${j.seq}) < (coalesce(${p.at}::timestamptz, 'infinity'), coalesce(${p.seq}, '9223372036854775807')::bigint)
      order by ${j.createdAt} desc, ${j.seq} desc limit ${p.limit}::bigint) r
      order by r.created desc, r.seq desc`;
  },
  { repeatable: true },
);

/** Jobs with children that are nobody's child, newest first. */
export async function readFlows(
  executor: Executor,
  after: Place | null,
): Promise<{ flows: FlowJob[]; hasMore: boolean }> {
  const values = { at: after?.at ?? null, seq: after?.seq ?? null, limit: PAGE_SIZE + 1 };
  const rows = await executor.run(selectRoots, values, { timeout: PAGE_TIMEOUT });
  return { flows: rows.slice(0, PAGE_SIZE).map(readNode), hasMore: rows.length > PAGE_SIZE };
}

/** From the job up to its topmost ancestor, and from there down, level by level. */
const selectTree = statement(
  'dashboard flow tree',
  ['queue', 'id'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`
      with recursive up as (
        select ${cells(j)}, 0 as depth from ${db.jobs} as ${j} where ${j.queueName} = ${p.queue} and ${j.id} = ${p.id}
        union all
        select ${cells(j)}, up.depth + 1 from up join ${db.jobs} as ${j} on ${j.queueName} = up.pq and ${j.id} = up.pid
        where up.depth < ${literal(MAX_DEPTH)}),
      tree as (
        (select ${sql.raw(CELLS.join(', '))}, 0 as depth from up order by up.depth desc limit 1)
        union all
        select ${cells(j)}, tree.depth + 1 from tree
        join ${db.jobs} as ${j} on ${j.parentId} = tree.id and ${j.parentQueueName} = tree.q
        where tree.depth < ${literal(MAX_DEPTH)})
      select ${output('node')} from (select * from tree limit ${literal(MAX_NODES + 1)}) node`;
  },
  { repeatable: true },
);

export interface FlowTree {
  readonly root: FlowJob;
  /** By the key of their parent, oldest first. */
  readonly childrenOf: ReadonlyMap<string, readonly FlowJob[]>;
  readonly size: number;
  /** There are more than `MAX_NODES`, which are not shown. */
  readonly isCut: boolean;
}

/** The flow that a job belongs to; null for a job without parent and children, and for one that does not exist. */
export async function readFlowTree(executor: Executor, queue: string, id: string): Promise<FlowTree | null> {
  const rows = await executor.run(selectTree, { queue, id }, { timeout: PAGE_TIMEOUT });
  const [root, ...others] = rows.slice(0, MAX_NODES).map(readNode);
  if (!root || (others.length === 0 && root.children === 0)) return null;
  const childrenOf = new Map<string, FlowJob[]>();
  for (const node of others.sort((a, b) => Number(a.place.seq) - Number(b.place.seq))) {
    if (node.parentKey === null) continue;
    childrenOf.set(node.parentKey, [...(childrenOf.get(node.parentKey) ?? []), node]);
  }
  return { root, childrenOf, size: others.length + 1, isCut: rows.length > MAX_NODES };
}
