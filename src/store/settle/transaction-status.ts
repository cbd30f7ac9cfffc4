import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, statement } from '../../db/statement.js';

const selectCommitted = statement(
  'committed',
  ['transaction'],
  (_db, p) => sql`select ${columns(sql`txid_status(${p.transaction}::bigint) = 'committed'`)}`,
  { repeatable: true },
);

/** Whether a transaction, by the number that `settle` told, has committed. */
export async function hasCommitted(executor: Executor, transaction: string): Promise<boolean> {
  const [row] = await executor.run(selectCommitted, { transaction });
  return row?.[0] === 'true';
}
