import postgres from 'postgres';

/** Off for the timed rounds; a round of its own counts the statements. */
export const SERVER_SETTINGS = {
  shared_preload_libraries: 'pg_stat_statements',
  'pg_stat_statements.track': 'none',
  compute_query_id: 'off',
};

/** Settings of the server that a reader wants to know. */
const TOLD = [
  'fsync',
  'synchronous_commit',
  'full_page_writes',
  'wal_level',
  'shared_buffers',
  'max_wal_size',
  'checkpoint_timeout',
  'autovacuum',
  'jit',
  'max_connections',
  'shared_preload_libraries',
] as const;

/** Creates an empty database; `count` has the server count its statements. */
export async function createDatabase(server: string, name: string, count: boolean): Promise<URL> {
  const url = new URL(server);
  url.pathname = `/${name}`;
  await withClient(server, async (sql) => {
    await sql`create database ${sql(name)}`;
    if (count && (await countsStatements(sql))) {
      await sql.unsafe(`alter database ${name} set pg_stat_statements.track = 'top'`);
      await sql.unsafe(`alter database ${name} set compute_query_id = 'on'`);
      await withClient(url.href, (its) => its`create extension pg_stat_statements`);
    }
    // Every run starts with nothing left to be written of the run before.
    await sql`checkpoint`;
  });
  return url;
}

export async function dropDatabase(server: string, name: string): Promise<void> {
  await withClient(server, (sql) => sql`drop database if exists ${sql(name)} with (force)`);
}

export async function serverSettings(server: string): Promise<Record<string, string>> {
  return withClient(server, async (sql) => {
    const rows = await sql<{ name: string; setting: string }[]>`
      select name, current_setting(name) as setting from pg_settings where name = any(${[...TOLD]})`;
    return Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
  });
}

async function countsStatements(sql: postgres.Sql): Promise<boolean> {
  const [row] = await sql<{ loaded: string }[]>`select current_setting('shared_preload_libraries') as loaded`;
  return row?.loaded.includes('pg_stat_statements') ?? false;
}

async function withClient<T>(url: string, run: (sql: postgres.Sql) => PromiseLike<T>): Promise<T> {
  const sql = postgres(url, { max: 1, onnotice() {} });
  try {
    return await run(sql);
  } finally {
    await sql.end();
  }
}
