import { randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { startPostgres } from './postgres.js';

/** What a test file needs to know of the run's server. */
export interface TestServer {
  url: string;
  /** Major version. */
  major: number;
  /** The beginning of every database name of this run. */
  prefix: string;
  /** The migrated database that the others are copied from. */
  template: string;
}

declare module 'vitest' {
  export interface ProvidedContext {
    server: TestServer;
  }
}

/** The first half of the advisory lock that a run holds on a server that it shares; the second half is the run's number. */
const RUN_LOCK = 0x636f6e76;

/** One server for the run, with one migrated template database. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const postgresServer = await startPostgres({ durable: false, log: (line) => console.log(line) });
  const run = randomInt(2 ** 31);
  const prefix = `conveyor_test_${run}`;
  const server: TestServer = {
    url: postgresServer.url,
    major: Number.parseInt(postgresServer.version, 10),
    prefix,
    template: `${prefix}_template`,
  };
  // This connection holds the run's lock until the end.
  const sql = postgres(server.url, { max: 1, max_lifetime: null, onnotice: () => {} });

  const teardown = async () => {
    if (postgresServer.kind === 'DATABASE_URL') await dropDatabases(sql, `${prefix}_%`, server.major);
    await sql.end({ timeout: 5 });
    await postgresServer.stop();
  };
  try {
    await sql`select pg_advisory_lock(${RUN_LOCK}, ${run})`;
    if (postgresServer.kind === 'DATABASE_URL') await dropLeftovers(sql, server.major);
    await makeTemplate(sql, server);
  } catch (error) {
    await teardown();
    throw error;
  }
  project.provide('server', server);
  return teardown;
}

async function makeTemplate(sql: postgres.Sql, { url, template }: TestServer): Promise<void> {
  try {
    await sql`create database ${sql(template)} template template0`;
  } catch (error) {
    if ((error as postgres.PostgresError).code !== '42501') throw error;
    throw new Error('The tests make a database per test file: the user of DATABASE_URL needs the right CREATEDB', {
      cause: error,
    });
  }
  const migrations = new URL('../../src/migrations/index.ts', import.meta.url);
  if (existsSync(fileURLToPath(migrations))) {
    const { migrate } = await import('../../src/migrations/index.js');
    const connection = new URL(url);
    connection.pathname = `/${template}`;
    await migrate({ connection: connection.href });
  }
  // Nobody may be connected to a database that is being copied.
  await sql`alter database ${sql(template)} with allow_connections false`;
}

/** What runs that were killed left behind on a server that they shared: theirs is the lock that nobody holds. */
async function dropLeftovers(sql: postgres.Sql, major: number): Promise<void> {
  const runs = await sql<{ run: number }[]>`
    select distinct substring(datname from 'conveyor_test_(\\d+)_')::int as run
    from pg_database where datname ~ '^conveyor_test_\\d+_'`;
  for (const { run } of runs) {
    const [row] = await sql<{ free: boolean }[]>`select pg_try_advisory_lock(${RUN_LOCK}, ${run}) as free`;
    if (row?.free) await dropDatabases(sql, `conveyor_test_${run}_%`, major);
  }
}

async function dropDatabases(sql: postgres.Sql, pattern: string, major: number): Promise<void> {
  const databases = await sql<
    { name: string }[]
  >`select datname as name from pg_database where datname like ${pattern}`;
  for (const { name } of databases) {
    if (major < 13) await sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name}`;
    await sql`drop database if exists ${sql(name)} ${major < 13 ? sql`` : sql`with (force)`}`;
  }
}
