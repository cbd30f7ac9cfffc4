import type postgres from 'postgres';
import { compile, type Statement } from '../src/db/statement.js';
import { tablesIn } from '../src/db/tables.js';

const PLANNED = new Set(['with', 'select', 'insert', 'update', 'delete']);

/**
 * The plan that a prepared statement has once the server plans it for any parameters; the driver's statements get it
 * from their sixth execution on. Nothing is executed. With `costs`, the planner's estimates too. Throws a RangeError for
 * a command that the server runs without a plan, such as TRUNCATE.
 */
export async function genericPlan(sql: postgres.Sql, statement: Statement<string>, costs = false): Promise<string> {
  const compiled = compile(statement, tablesIn(undefined));
  const [command = ''] = /^\w+/.exec(compiled.text.replace(/^\s*\/\*.*?\*\/\s*/, '')) ?? [];
  if (!PLANNED.has(command.toLowerCase())) {
    throw new RangeError(`"${statement.name}" has no plan: the server runs ${command} without one.`);
  }
  const values = compiled.bind({}).map(() => 'null');
  const list = values.length === 0 ? '' : `(${values.join(', ')})`;
  const connection = await sql.reserve();
  try {
    await connection`set plan_cache_mode = force_generic_plan`;
    await connection.unsafe(`prepare explained as ${compiled.text}`);
    const lines = await connection.unsafe(`explain (costs ${costs}) execute explained${list}`).values();
    return lines.map(([line]) => line).join('\n');
  } finally {
    await connection.unsafe('deallocate all; reset plan_cache_mode').catch(() => {});
    connection.release();
  }
}
