import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';
import { bare } from '../../db/tables.js';

const insertName = statement(
  'pause name',
  ['queue', 'name'],
  (db, p) => sql`insert into ${db.pausedNames} (${bare(db.pausedNames).queueName}, ${bare(db.pausedNames).jobName})
    values (${p.queue}, ${p.name}) on conflict do nothing returning ${columns(bare(db.pausedNames).jobName)}`,
  { repeatable: true },
);

/** True when the name was not paused before. */
export async function pauseName(executor: Executor, queueName: string, jobName: string): Promise<boolean> {
  return (await executor.run(insertName, { queue: queueName, name: jobName })).length > 0;
}

const deleteName = statement(
  'resume name',
  ['queue', 'name'],
  (db, p) => sql`delete from ${db.pausedNames} where ${bare(db.pausedNames).queueName} = ${p.queue}
    and ${bare(db.pausedNames).jobName} = ${p.name} returning ${columns(bare(db.pausedNames).jobName)}`,
  { repeatable: true },
);

/** True when the name was paused. */
export async function resumeName(executor: Executor, queueName: string, jobName: string): Promise<boolean> {
  return (await executor.run(deleteName, { queue: queueName, name: jobName })).length > 0;
}

const selectNames = statement(
  'paused names',
  ['queue'],
  (db, p) => sql`select ${columns(bare(db.pausedNames).jobName)} from ${db.pausedNames}
    where ${bare(db.pausedNames).queueName} = ${p.queue} order by ${bare(db.pausedNames).jobName}`,
  { repeatable: true },
);

export async function getPausedNames(executor: Executor, queueName: string): Promise<string[]> {
  return (await executor.run(selectNames, { queue: queueName })).map(([name]) => name as string);
}
