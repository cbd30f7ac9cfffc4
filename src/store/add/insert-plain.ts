import { type SQL, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, OPTIONAL, variants } from '../../db/statement.js';
import { bare, literal } from '../../db/tables.js';
import { epochMs, now } from '../../db/time.js';
import type { JobRecord, PlainFields } from '../rows/new-job.js';

/** One text with an item per line. JSON text has no line breaks, and so no item needs quotes, or is parsed for them. */
const lines = (text: SQL): SQL => sql`string_to_array(${text}, ${sql.raw(`E'\\n'`)})`;

/**
 * Fresh jobs that wait, have the table's defaults in all but a few columns, and so half the cost of `insert fresh jobs`.
 * What the jobs of a `shared` batch have in common, most often all but id and payload, travels once. In the order of the
 * batch, in which `unnest` returns its items. Answers with the time of creation.
 */
const insertPlain = variants({ shared: OPTIONAL }, ({ shared }, statement) =>
  statement(
    `insert plain jobs${shared ? '' : ' of any kind'}`,
    ['ids', 'data', 'queue', 'name', 'opts', 'priority'],
    (db, p) => {
      const { seq, id, name, queueName, data, opts, state, priority, createdAt } = bare(db.jobs);
      const own = shared ? sql`` : sql`, ${sql.join([p.queue, p.name, p.opts, p.priority].map(lines), sql`, `)}`;
      const ownNames = shared ? sql`` : sql`, queue, name, opts, priority`;
      // Evaluated once each.
      const common = { opts: sql`(select ${p.opts}::jsonb)`, priority: sql`(select ${p.priority}::int)` };
      return sql`
        with inserted as (
          insert into ${db.jobs} (${seq}, ${id}, ${queueName}, ${name}, ${data}, ${opts}, ${priority}, ${state}, ${createdAt})
          select ${db.nextSeq}, x.id, ${shared ? p.queue : sql`x.queue`}, ${shared ? p.name : sql`x.name`}, x.data::jsonb,
            ${shared ? common.opts : sql`x.opts::jsonb`}, ${shared ? common.priority : sql`x.priority::int`},
            ${literal('waiting')}, (select ${now})
          from unnest(${lines(p.ids)}, ${lines(p.data)}${own}) x(id, data${ownNames}))
        select ${columns(epochMs(now))}`;
    },
    // Sent again after its answer was lost, it fails on its own rows, and `insertBatch` then finds them.
    { repeatable: true },
  ),
);

/** Inserts jobs that are all plain; undefined if they are not. */
export async function insertAllPlain(
  executor: Executor,
  records: readonly JobRecord[],
): Promise<{ createdAt: Date } | undefined> {
  const first = records[0]?.plain;
  if (!first) return undefined;
  const ids: string[] = [];
  const data: string[] = [];
  let shared = true;
  for (const record of records) {
    const { plain } = record;
    if (!plain) return undefined;
    ids.push(record.id);
    data.push(record.data);
    shared &&= (plain === first || isLike(plain, first)) && record.queueName === records[0]?.queueName;
  }
  const each = (field: (record: JobRecord) => string | number) =>
    shared ? field(records[0] as JobRecord) : records.map(field).join('\n');
  const [row] = await executor.run(insertPlain({ shared }), {
    ids: ids.join('\n'),
    data: data.join('\n'),
    queue: each(({ queueName }) => queueName),
    name: each(({ plain }) => plain?.name as string),
    opts: each(({ plain }) => plain?.opts as string),
    priority: each(({ plain }) => plain?.priority as number),
  });
  return { createdAt: new Date(Number(row?.[0])) };
}

const isLike = (a: PlainFields, b: PlainFields) => a.name === b.name && a.opts === b.opts && a.priority === b.priority;
