import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, inject } from 'vitest';
import type {} from './global-setup.js';

export interface DatabaseOptions {
  /** True: without our tables. Default: a copy of the migrated template. */
  empty?: boolean;
}

export interface TestDatabase {
  url: string;
  drop(): Promise<void>;
}

/** A new database on the run's server. */
export async function createDatabase(options: DatabaseOptions = {}): Promise<TestDatabase> {
  const { url, prefix, template, major } = inject('server');
  const name = `${prefix}_${randomBytes(5).toString('hex')}`;
  const source = options.empty ? 'template0' : template;
  await asAdmin((sql) => whenFree(() => sql`create database ${sql(name)} template ${sql(source)}`));
  const own = new URL(url);
  own.pathname = `/${name}`;
  return {
    url: own.href,
    drop: () =>
      asAdmin((sql) =>
        whenFree(async () => {
          if (major < 13) await sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name}`;
          await sql`drop database if exists ${sql(name)} ${major < 13 ? sql`` : sql`with (force)`}`;
        }),
      ),
  };
}

export interface UsedDatabase {
  readonly url: string;
  /** A small client for assertions and for making rows. */
  readonly sql: postgres.Sql;
}

/** A database for the test file (or the `describe`) that calls it; there from `beforeAll` to `afterAll`. */
export function useDatabase(options: DatabaseOptions = {}): UsedDatabase {
  let database: TestDatabase | undefined;
  let client: postgres.Sql | undefined;
  beforeAll(async () => {
    database = await createDatabase(options);
    client = postgres(database.url, { max: 4, onnotice: () => {} });
  });
  afterAll(async () => {
    await client?.end({ timeout: 1 });
    await database?.drop();
  });
  return {
    get url() {
      return there(database).url;
    },
    get sql() {
      return there(client);
    },
  };
}

function there<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the database is there from beforeAll to afterAll only');
  return value;
}

async function asAdmin(work: (sql: postgres.Sql) => Promise<unknown>): Promise<void> {
  const sql = postgres(inject('server').url, { max: 1, onnotice: () => {} });
  try {
    await work(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/** Tries again while the database has other sessions (an autovacuum worker, a client that disconnects): no event reports their end. */
async function whenFree(work: () => Promise<unknown>): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      if ((error as postgres.PostgresError).code !== '55006' || performance.now() > deadline) throw error;
      await sleep(50 + Math.random() * 50);
    }
  }
}
