import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { alias, bare } from '../../db/tables.js';
import { epochMs } from '../../db/time.js';
import { GroupFullError } from '../../model/errors.js';
import { holdsKey, keyExpired } from '../rules/deduplication.js';
import { dateOf, insertInput, insertSelect, type JobRecord, type Saved } from './insert.js';

/**
 * - `there`: the job exists, by its id or its deduplication key; it does not count
 * - `again`: another add decides, and this statement's snapshot does not show it yet
 */
type Outcome = 'created' | 'there' | 'full' | 'again';

/**
 * One job into a group that holds so many at most. The group's cursor is the guard, as for claims: how far `added` has
 * grown in the locked row beyond the snapshot's is what other adds have put into the group since. Only adds under a
 * `maxSize` write it: what else moves into the group is not refused, so there is nothing to be exact about.
 */
const insertGuarded = statement(
  'insert into group',
  ['jobs', 'queue', 'group', 'max'],
  (db, p) => {
    const j = alias(db.jobs, 'j');
    const c = alias(db.groupCursors, 'c');
    const col = bare(db.jobs);
    const cursor = bare(db.groupCursors);
    const guard = sql`${db.groupCursors} as ${c} where ${c.queueName} = ${p.queue} and ${c.groupId} = ${p.group}`;
    const inGroup = sql`${db.jobs} as ${j} where ${j.queueName} = ${p.queue} and ${j.groupId} = ${p.group}`;
    const expired = sql`${j.queueName} = x.queue_name and ${j.deduplicationKey} = x.deduplication_key and ${holdsKey(j)} and ${keyExpired(j)}`;
    return sql`
    with x as materialized (${insertInput(db, p.jobs)}),
    there as materialized (
      select ${j.id} as id from x join ${db.jobs} as ${j} on ${j.queueName} = x.queue_name and ${j.id} = x.id
      union all
      select ${j.id} from x join ${db.jobs} as ${j} on ${j.queueName} = x.queue_name and ${j.deduplicationKey} = x.deduplication_key
        and ${holdsKey(j)} and not ${keyExpired(j)}),
    snapshot as materialized (
      select ${c.added} as added,
        (select count(*) from (select 1 from ${inGroup} and ${j.state} = 'waiting' limit ${p.max}::int) a)
        + (select count(*) from (select 1 from ${inGroup} and ${j.state} = 'delayed' limit ${p.max}::int) b) as size
      from ${guard}),
    prepared as (
      insert into ${db.groupCursors} (${cursor.queueName}, ${cursor.groupId})
      select ${p.queue}, ${p.group} where not exists (select 1 from snapshot) and not exists (select 1 from there)
      on conflict do nothing returning 1),
    locked as (
      select ${c.added} as added from ${guard}
        and not exists (select 1 from there) and (select size from snapshot) < ${p.max}::int
      for update),
    room as materialized (
      select 1 from locked l cross join snapshot s where s.size + l.added - s.added < ${p.max}::int),
    freed as (
      update ${db.jobs} as ${j} set ${col.deduplicationKey} = null
      from x where ${expired} and exists (select 1 from room)
      returning 1),
    inserted as (
      insert into ${db.jobs} ${insertSelect(db)} from x
      where exists (select 1 from room) and (select count(*) from freed) >= 0
      on conflict do nothing
      returning ${col.id} as id, ${col.delayUntil} as until, ${col.createdAt} as created_at),
    counted as (
      update ${db.groupCursors} as ${c} set ${cursor.added} = ${c.added} + 1
      from inserted where ${c.queueName} = ${p.queue} and ${c.groupId} = ${p.group}
      returning 1)
    select ${columns(
      sql`case when i.id is not null then 'created' when t.id is not null then 'there'
        when (select size from snapshot) >= ${p.max}::int then 'full' else 'again' end`,
      sql`coalesce(i.id, t.id)`,
      epochMs(sql`i.until`),
      epochMs(sql`i.created_at`),
    )} from (select 1) one left join inserted i on true left join (select id from there limit 1) t on true`;
  },
  // The id is the caller's: sent again, it finds its own row.
  { repeatable: true },
);

/** Each round, at least one other add got through; so this many at once, for one group, is not a matter of chance. */
const MAX_ROUNDS = 1_000;

/**
 * Inserts the job unless `maxSize` jobs of its group are waiting or delayed.
 *
 * @throws GroupFullError when the group is full
 */
export async function insertIntoGroup(
  executor: Executor,
  record: JobRecord,
  groupId: string,
  maxSize: number,
): Promise<Saved> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const [row] = await executor.run(insertGuarded, {
      jobs: `[${record.json}]`,
      queue: record.queueName,
      group: groupId,
      max: maxSize,
    });
    const [outcome, id, until, createdAt] = row as [Outcome, string | null, string | null, string | null];
    if (outcome === 'full') throw new GroupFullError(groupId, maxSize);
    if (outcome === 'again') continue;
    return {
      id: id as string,
      created: outcome === 'created',
      delayUntil: dateOf(until),
      createdAt: dateOf(createdAt),
    };
  }
  throw new GroupFullError(groupId, maxSize);
}
