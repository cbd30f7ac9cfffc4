import type postgres from 'postgres';
import type { Executor } from '../../src/db/executor.js';
import { compile, type Param, type Statement } from '../../src/db/statement.js';
import { tablesIn } from '../../src/db/tables.js';

interface Sent {
  statement: Statement<string>;
  values: Readonly<Record<string, Param>>;
}

/**
 * The statement of this name that a piece of the store sends, or its first one, instead of sending it. What comes
 * before it is answered with nothing, and the question for a `horizon` with one behind all jobs.
 */
export async function statementOf(work: (executor: Executor) => Promise<unknown>, name?: string): Promise<Sent> {
  let sent: Sent | undefined;
  const executor: Executor = {
    tables: tablesIn(undefined),
    async run(statement, values) {
      if (statement.name === 'horizon') return [[String(2 ** 40), String(Date.now())]];
      if (name !== undefined && statement.name !== name) return [];
      sent ??= { statement: statement as unknown as Statement<string>, values };
      throw new Error('not sent');
    },
  };
  await work(executor).catch(() => {});
  if (!sent) throw new Error(`"${name ?? 'any statement'}" was not sent`);
  return sent;
}

export interface PlanNode {
  type: string;
  table: string | undefined;
  index: string | undefined;
  /** Rows returned plus rows read and filtered out, over all loops. */
  rows: number;
  /** Bytes, of the nodes below it, too; 0 unless explained. */
  wal: number;
}

type Explained = Record<string, unknown> & { Plans?: Explained[] };

/**
 * Runs a statement as the driver does from its sixth time on, prepared and with a plan that is made for any
 * parameters, and tells what the plan's nodes did. Whatever it changed is rolled back.
 */
export async function planOf(
  sql: postgres.Sql,
  sent: Sent,
  settings: Record<string, string> = {},
): Promise<PlanNode[]> {
  return nodes(await explain(sql, sent, 'analyze, timing off', settings));
}

/** The bytes of WAL that a statement writes, from Postgres 13 on; nothing else on the server counts. Rolled back. */
export async function walOf(sql: postgres.Sql, sent: Sent): Promise<number> {
  const all = nodes(await explain(sql, sent, 'analyze, timing off, wal'));
  return Math.max(...all.map(({ wal }) => wal));
}

async function explain(
  sql: postgres.Sql,
  { statement, values }: Sent,
  options: string,
  settings: Record<string, string> = {},
): Promise<Explained> {
  const { text, bind } = compile(statement, tablesIn(undefined));
  const params = bind(values).map((value) => (value === null ? 'null' : `'${value.replaceAll("'", "''")}'`));
  const connection = await sql.reserve();
  try {
    await connection.unsafe('set plan_cache_mode = force_generic_plan');
    await connection.unsafe('begin');
    for (const [name, value] of Object.entries(settings)) await connection.unsafe(`set local ${name} = ${value}`);
    await connection.unsafe(`prepare planned as ${text}`);
    const list = params.length === 0 ? '' : `(${params.join(', ')})`;
    const rows = await connection.unsafe(`explain (${options}, format json) execute planned${list}`);
    await connection.unsafe('rollback');
    const [explained] = (rows[0] as Record<string, [{ Plan: Explained }]>)['QUERY PLAN'] ?? [];
    return explained?.Plan ?? {};
  } finally {
    await connection.unsafe('rollback; deallocate all; reset plan_cache_mode').catch(() => {});
    connection.release();
  }
}

function nodes(plan: Explained): PlanNode[] {
  const number = (name: string) => Number(plan[name] ?? 0);
  const own: PlanNode = {
    type: String(plan['Node Type']),
    table: plan['Relation Name'] as string | undefined,
    index: plan['Index Name'] as string | undefined,
    wal: number('WAL Bytes'),
    rows:
      number('Actual Loops') *
      (number('Actual Rows') + number('Rows Removed by Filter') + number('Rows Removed by Index Recheck')),
  };
  return [own, ...(plan.Plans ?? []).flatMap(nodes)];
}
