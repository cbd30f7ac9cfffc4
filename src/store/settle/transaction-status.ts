import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';

const selectStatus = statement(
  'transaction status',
  ['transaction'],
  (_db, p) => sql`select ${columns(sql`txid_status(${p.transaction}::bigint)`)}`,
  { repeatable: true },
);

async function statusOf(executor: Executor, transaction: string): Promise<string | null | undefined> {
  const [row] = await executor.run(selectStatus, { transaction });
  return row?.[0];
}

/** Whether a transaction, by the number that `settle` told, has committed. */
export async function hasCommitted(executor: Executor, transaction: string): Promise<boolean> {
  return (await statusOf(executor, transaction)) === 'committed';
}

/** Whether it has neither committed nor rolled back. */
export async function isOpen(executor: Executor, transaction: string): Promise<boolean> {
  return (await statusOf(executor, transaction)) === 'in progress';
}
