import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';
import { until } from '../../support/until.js';
import { oracleClient } from '../support/bench.js';
import type { Bench, Drill } from '../support/drill.js';
import { seconds, tally } from '../support/figures.js';

/** What the migrations make, in one text. */
async function shape(sql: postgres.Sql): Promise<string> {
  const [row] = await sql`select jsonb_build_object(
    'columns', (select jsonb_agg(jsonb_build_array(table_name, column_name, data_type, column_default, is_nullable)
      order by table_name, column_name) from information_schema.columns where table_name like 'conveyor%'),
    'indexes', (select jsonb_agg(indexdef order by indexname) from pg_indexes where tablename like 'conveyor%'),
    'checks', (select jsonb_agg(pg_get_constraintdef(oid) order by conname) from pg_constraint where conname like 'conveyor%'),
    'versions', (select jsonb_agg(version order by version) from conveyor_migrations))::text as shape`;
  return String(row?.['shape']);
}

/** Many processes start at once on an empty database, and some are killed while they migrate it. */
export const migrations: Drill = {
  name: 'migrations',
  title:
    '64 processes migrate one empty database at once, some are killed meanwhile: no failed start, nothing half-done',
  async run(bench) {
    const rounds = bench.size(2, 100);
    const wanted = await shape(bench.sql);
    const times: number[] = [];
    const refused: Record<string, number> = {};
    let killed = 0;
    for (let round = 0; round < rounds; round++) {
      // Every other round all of them are left alone.
      killed += await race(bench, round % 2 === 1, wanted, times, refused);
    }
    bench.figure('rounds, of 64 processes', rounds);
    bench.figure('processes killed', killed);
    bench.figure('starts refused', tally(refused));
    bench.figure('all connected after', seconds(Math.max(...times)));
    bench.check(Object.keys(refused).length === 0, `starts were refused: ${tally(refused)}`);
  },
};

async function race(
  bench: Bench,
  kills: boolean,
  wanted: string,
  times: number[],
  refused: Record<string, number>,
): Promise<number> {
  const url = await bench.emptyDatabase();
  const crew = bench.crew({
    size: 64,
    plan: { url, queues: [], store: { autoMigrate: true, listen: false } },
    onMessage({ kind, code }) {
      if (kind === 'refused') refused[String(code)] = (refused[String(code)] ?? 0) + 1;
    },
  });
  const from = performance.now();
  const sql = oracleClient(url);
  let killed = 0;
  try {
    if (kills) {
      const busy =
        () => sql`select 1 from pg_stat_activity where datname = current_database() and query like '%conveyor%'
        and application_name <> 'oracle'`;
      await until(async () => (await busy()).length > 0, { timeout: 60_000, what: 'a migration' });
      for (; killed < 8; killed++) {
        await sleep(bench.random.int(0, 30));
        const member = bench.random.pick(crew.members().filter(({ doomed }) => !doomed));
        member.doomed = true;
        member.child.kill('SIGKILL');
      }
    }
    await until(() => crew.allReady(), { timeout: 120_000, what: 'all processes to start' });
    times.push(performance.now() - from);
    bench.check((await shape(sql)) === wanted, 'the tables are not as one process makes them');
  } finally {
    await sql.end({ timeout: 1 });
    await crew.dismiss();
  }
  return killed;
}
