import { sql } from 'drizzle-orm';
import { codeOf } from '../../db/errors.js';
import type { Executor } from '../../db/executor.js';
import { columns, type Row, statement } from '../../db/statement.js';
import { alias } from '../../db/tables.js';
import { ConveyorError } from '../../model/errors.js';
import { freedKeys, holdsKey } from '../rules/deduplication.js';
import { existingIds, type Taken } from './flow-tree.js';
import { insertInput, insertSelect, type JobRecord } from './insert.js';

/**
 * Inserts a whole flow or nothing. Conflicts (an id that exists, a live holder of a deduplication key) are looked up in
 * the statement's snapshot; with any, nothing is inserted and no error raised, so a caller's transaction stays usable.
 * Without `on conflict`, because what another transaction commits meanwhile must fail the whole statement. Answers with
 * the records that conflict, and with what.
 */
const insertFlow = statement(
  'insert flow',
  ['jobs'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    return sql`
      with x as materialized (${insertInput(db, p.jobs)}),
      ${freedKeys(db)},
      taken as materialized (
        select x.ordinality as n, ${j.id} as id, null as key from x
        join ${db.jobs} as ${j} on ${j.queueName} = x.queue_name and ${j.id} = x.id
        union all
        select x.ordinality, ${j.id}, x.deduplication_key from x
        join ${db.jobs} as ${j} on ${j.queueName} = x.queue_name and ${j.deduplicationKey} = x.deduplication_key
        where ${holdsKey(j)} and not exists (select 1 from freed f where f.q = ${j.queueName} and f.id = ${j.id})),
      inserted as (
        insert into ${db.jobs} ${insertSelect(db)} from x
        where not exists (select 1 from taken) order by x.queue_name, x.deduplication_key nulls first, x.id)
      select ${columns(sql`n`, sql`id`, sql`key`)} from taken order by n, key nulls first`;
  },
  // Sent again after it took effect, it finds its own root and answers as for a flow that is there already.
  { repeatable: true },
);

/**
 * Saves jobs of any queues, all or nothing; the root is the first. When the root is there already (each deploy adds
 * the same tree again) nothing is saved, and the ids are those of the tree that is there.
 *
 * @throws ConveyorError when only some other job is there already
 */
export async function saveFlow(executor: Executor, records: readonly JobRecord[]): Promise<string[]> {
  if (records.length === 0) return [];
  refuseTwins(records);
  const jobs = `[${records.map(({ json }) => json).join(',')}]`;
  const rows = await insertOnce(executor, jobs);
  if (rows.length === 0) return records.map(({ id }) => id);
  const taken = rows.map(([n, id, key]): Taken => ({ index: Number(n) - 1, id: id as string, key: key ?? null }));
  if (taken[0]?.index !== 0) throw conflict(records, taken[0] as Taken);
  return existingIds(executor, records, taken);
}

async function insertOnce(executor: Executor, jobs: string): Promise<Row[]> {
  const insert = () => executor.run(insertFlow, { jobs });
  try {
    return await insert();
  } catch (error) {
    if (codeOf(error) !== '23505') throw error;
    // Another transaction has saved the same jobs. The next snapshot shows them, unless the error has ended a caller's
    // transaction.
    return insert().catch((again) => {
      if (codeOf(again) !== '23505' && codeOf(again) !== '25P02') throw again;
      throw new ConveyorError('Another transaction saved a job of the flow at the same time: nothing was saved.', {
        code: 'FLOW_CONFLICT',
        cause: error,
      });
    });
  }
}

function refuseTwins(records: readonly JobRecord[]): void {
  const seen = new Set<string>();
  for (const { queueName, id, deduplicationKey } of records) {
    for (const [what, value] of [['id', id] as const, ['deduplication key', deduplicationKey] as const]) {
      if (value === null) continue;
      const mark = JSON.stringify([queueName, what, value]);
      if (seen.has(mark)) {
        throw new ConveyorError(`Two jobs of the flow have the ${what} "${value}" in queue "${queueName}".`, {
          code: 'FLOW_CONFLICT',
        });
      }
      seen.add(mark);
    }
  }
}

function conflict(records: readonly JobRecord[], { index, id, key }: Taken): ConveyorError {
  const { queueName } = records[index] as JobRecord;
  const what =
    key === null
      ? `Job "${id}" of queue "${queueName}" exists already`
      : `Job "${id}" of queue "${queueName}" holds the deduplication key "${key}"`;
  return new ConveyorError(`${what}, but the root of the flow does not: nothing of the flow was saved.`, {
    code: 'FLOW_CONFLICT',
  });
}
