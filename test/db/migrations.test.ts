import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, describe, expect, it } from 'vitest';
import { PgStore } from '../../src/index.js';
import { recordedName, WORKS_SINCE, worksSince } from '../../src/migrations/compatibility.js';
import { MIGRATIONS } from '../../src/migrations/generated.js';
import { migrate } from '../../src/migrations/index.js';
import { SchemaError } from '../../src/model/errors.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { recordingLogger } from '../support/playground.js';
import { spawnScript } from '../support/process.js';
import { until } from '../support/until.js';

const opened: { end(): Promise<unknown> }[] = [];

async function emptyDatabase(): Promise<{ database: TestDatabase; sql: postgres.Sql }> {
  const database = await createDatabase({ empty: true });
  const sql = postgres(database.url, { max: 2, onnotice: () => {} });
  opened.push({
    end: async () => {
      await sql.end({ timeout: 1 });
      await database.drop();
    },
  });
  return { database, sql };
}

afterAll(async () => {
  await Promise.all(opened.map((one) => one.end()));
});

const tableNames = async (sql: postgres.Sql, schema = 'public') =>
  (
    await sql`select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where relkind = 'r' and nspname = ${schema} order by 1`
  ).map(({ relname }) => relname);

describe('migrate', () => {
  it('makes the tables once, whoever calls how often', async () => {
    const { database, sql } = await emptyDatabase();
    const first = await migrate({ connection: database.url });
    const second = await migrate({ connection: database.url });
    expect(first.applied.length).toBeGreaterThan(0);
    expect(second).toEqual({ applied: [], adopted: [] });
    expect(await tableNames(sql)).toContain('conveyor_jobs');
    const versions = await sql`select version, name, applied_at from conveyor_migrations order by version`;
    expect(first.applied).toEqual(MIGRATIONS.map(({ name }) => name));
    expect(versions.map(({ name }) => name)).toEqual(MIGRATIONS.map(recordedName));
  });

  it('lets 32 stores and 4 processes connect to an empty database at once', async () => {
    const { database, sql } = await emptyDatabase();
    const processes = Array.from({ length: 4 }, () =>
      spawnScript(resolve(import.meta.dirname, 'migrate.script.ts'), { args: [database.url] }),
    );
    const stores = Array.from(
      { length: 32 },
      () => new PgStore({ connection: { ...asOptions(database.url), max: 1 }, listen: false }),
    );
    await Promise.all(stores.map((store) => store.connect()));
    expect(await Promise.all(processes.map(({ exit }) => exit))).toEqual([0, 0, 0, 0]);
    const [{ count } = { count: 0 }] = await sql`select count(*)::int as count from conveyor_migrations`;
    expect(count).toBeGreaterThan(0);
    await Promise.all(stores.map((store) => store.disconnect()));
  });

  it('leaves nothing half-done when it is killed half-way, and mends it at the next start', async () => {
    const { database, sql } = await emptyDatabase();
    // A table of the same name as one that is made late, in an open transaction, stops the migration there.
    const blocker = await sql.reserve();
    await blocker`begin`;
    await blocker`create table conveyor_schedules ()`;
    const script = spawnScript(resolve(import.meta.dirname, 'migrate.script.ts'), { args: [database.url] });
    await until(
      async () =>
        (
          await sql`select 1 from pg_stat_activity where datname = current_database()
          and wait_event_type = 'Lock' and query like '%conveyor_jobs%'`
        ).length > 0,
      { what: 'the migration to wait for the blocker' },
    );
    await script.kill('SIGKILL');
    // Its backend would notice only when it has something to say; then everything is done, not half of it.
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'conveyor'`;
    await until(
      async () =>
        (await sql`select 1 from pg_stat_activity where datname = current_database() and application_name = 'conveyor'`)
          .length === 0,
      { what: 'the killed process to be gone from the server' },
    );
    await blocker`rollback`;
    blocker.release();
    expect(await tableNames(sql)).toEqual([]);
    await migrate({ connection: database.url });
    expect(await tableNames(sql)).toContain('conveyor_schedules');
  });

  it('needs no right to create anything once the tables are there, and writes nothing', async () => {
    const { database, sql } = await emptyDatabase();
    await migrate({ connection: database.url });
    const role = `plain_${Date.now()}`;
    await sql.unsafe(`create role ${role} login password 'plain'`);
    await sql.unsafe('revoke create on schema public from public');
    await sql.unsafe(`grant select, insert, update, delete on all tables in schema public to ${role}`);
    await sql.unsafe(`grant usage on all sequences in schema public to ${role}`);
    const url = new URL(database.url);
    url.username = role;
    url.password = 'plain';
    const before = await rowVersions(sql);
    const store = new PgStore({ connection: url.href });
    await store.connect();
    expect(await migrate({ connection: url.href })).toEqual({ applied: [], adopted: [] });
    expect(await rowVersions(sql)).toEqual(before);
    await store.saveJob('q', await someJob());
    await store.disconnect();
    await sql.unsafe(`drop owned by ${role}`);
    await sql.unsafe(`drop role ${role}`);
  });

  it('refuses a database that is newer than the code', async () => {
    const { database, sql } = await emptyDatabase();
    await migrate({ connection: database.url });
    await sql`insert into conveyor_migrations (version, name) values (9999, 'from the future')`;
    await expect(migrate({ connection: database.url })).rejects.toThrow(SchemaError);
    for (const autoMigrate of [true, false]) {
      const store = new PgStore({ connection: database.url, autoMigrate });
      await expect(store.connect()).rejects.toThrow(/migration 9999.*update the package/);
    }
  });

  it('keeps no lock and no setting in its session, so that it works through a transaction pooler', async () => {
    const { database, sql } = await emptyDatabase();
    const seen: unknown[] = [];
    const [{ name } = { name: '' }] = await sql`select current_database() as name`;
    await sql.unsafe(`alter database "${name}" set lock_timeout = '10ms'`);
    await sql.unsafe(`alter database "${name}" set statement_timeout = '2s'`);
    await sql`create schema "pooled"`;
    // Holds the lock of the migrations for longer than the limits allow to wait.
    const holder = await sql.reserve();
    await holder`begin`;
    await holder`select pg_advisory_xact_lock(hashtextextended('conveyor migrations in ' || 'pooled', 0))`;
    const migrating = Promise.all([1, 2, 3].map(() => migrate({ connection: database.url, schema: 'pooled' })));
    const waiting = () => sql`select 1 from pg_locks where locktype = 'advisory' and not granted`;
    await until(async () => (await waiting()).length === 3, { what: 'three migrations to wait' });
    await sleep(2_200);
    seen.push((await waiting()).length);
    await holder`commit`;
    holder.release();
    const results = await migrating;
    expect(seen).toEqual([3]);
    expect(results.filter(({ applied }) => applied.length > 0)).toHaveLength(1);
    const [row] = await sql`select count(*)::int as count from pooled.conveyor_migrations`;
    expect(row).toEqual({ count: MIGRATIONS.length });
  });

  it('starts on a newer database whose migrations do not break it, and says so once', async () => {
    const { database, sql } = await emptyDatabase();
    await migrate({ connection: database.url });
    const known = MIGRATIONS.length;
    await sql`insert into conveyor_migrations (version, name) values (9998, ${`9997_later (works since ${known})`})`;
    await sql`alter table conveyor_jobs add column later text`;
    expect(await migrate({ connection: database.url })).toEqual({ applied: [], adopted: [] });
    for (const autoMigrate of [true, false]) {
      const { lines, logger } = recordingLogger();
      const store = new PgStore({ connection: database.url, autoMigrate, logger });
      await store.connect();
      await store.saveJob('q', await someJob());
      await store.disconnect();
      expect(lines).toMatchObject([
        { level: 'warn', message: expect.stringMatching(/migration 9998.*can work on it/) },
      ]);
    }
    await sql`insert into conveyor_migrations (version, name) values (9999, ${`9998_more (works since ${known + 1})`})`;
    await expect(new PgStore({ connection: database.url }).connect()).rejects.toThrow(/9999.*update the package/);
  });

  it('says of every migration since when code can work with it', () => {
    expect(Object.keys(WORKS_SINCE)).toEqual(MIGRATIONS.map(({ name }) => name));
    for (const { version, name } of MIGRATIONS) expect(WORKS_SINCE[name]).toBeLessThanOrEqual(version);
    const later = { version: 7, name: '0006_later', statements: [] };
    expect(worksSince(7, recordedName(later))).toBe(7);
    expect(worksSince(7, '0006_later (works since 3) (adopted)')).toBe(3);
  });

  it('says what differs when the tables were changed by hand', async () => {
    const { database, sql } = await emptyDatabase();
    await migrate({ connection: database.url });
    await sql`alter table conveyor_jobs drop column lease`;
    await sql`alter table conveyor_jobs alter column locked_by type varchar(9)`;
    await sql`drop index conveyor_jobs_waiting_idx`;
    await expect(migrate({ connection: database.url })).rejects.toThrow(
      /"conveyor_jobs.lease" \(integer\) is missing.*"conveyor_jobs.locked_by" is character varying\(9\) instead of text.*"conveyor_jobs_waiting_idx" is missing/,
    );
  });

  it('adopts tables that drizzle-kit made', async () => {
    const { database, sql } = await emptyDatabase();
    await migrate({ connection: database.url });
    await sql`delete from conveyor_migrations`;
    const result = await migrate({ connection: database.url });
    expect(result.applied).toEqual([]);
    expect(result.adopted.length).toBeGreaterThan(0);
  });
});

describe('connect with autoMigrate: false', () => {
  it('advises what works: migrate() as it is written there', async () => {
    const { database, sql } = await emptyDatabase();
    await sql`create schema "jobs"`;
    const store = new PgStore({ connection: database.url, schema: 'jobs', autoMigrate: false });
    await expect(store.connect()).rejects.toThrow("migrate({ connection: process.env.DATABASE_URL, schema: 'jobs' })");
    await migrate({ connection: database.url, schema: 'jobs' });
    await store.connect();
    await store.disconnect();
  });

  it('advises no migration where that would not mend the tables', async () => {
    const { database, sql } = await emptyDatabase();
    await migrate({ connection: database.url });
    await sql`drop table conveyor_paused_names`;
    const store = new PgStore({ connection: database.url, autoMigrate: false });
    const message = /"conveyor_paused_names" is missing.*migrating again would not mend it.*drop every table/;
    await expect(store.connect()).rejects.toThrow(message);
    await expect(migrate({ connection: database.url })).rejects.toThrow(message);
    const tables = await tableNames(sql);
    await sql.unsafe(`drop table ${tables.map((name) => `"${name}"`).join(', ')}`);
    await migrate({ connection: database.url });
    await store.connect();
    await store.disconnect();
  });

  it.each([undefined, 'jobs'])('advises what works, word by word (schema %s)', async (schema) => {
    const { database, sql } = await emptyDatabase();
    if (schema) await sql`create schema ${sql(schema)}`;
    const options = { connection: database.url, autoMigrate: false, ...(schema && { schema }) };
    const error: unknown = await new PgStore(options).connect().catch((e: unknown) => e);
    const advice = /once by `await (migrate\(.*?\))`/.exec(String(error))?.[1];
    await new Function('migrate', 'process', `return ${advice}`)(migrate, { env: { DATABASE_URL: database.url } });
    const store = new PgStore(options);
    await store.connect();
    await store.disconnect();
  });

  it('names what is missing and how to get it', async () => {
    const { database, sql } = await emptyDatabase();
    const store = new PgStore({ connection: database.url, autoMigrate: false });
    const error = await store.connect().catch((e: unknown) => e);
    expect(error).toBeInstanceOf(SchemaError);
    expect(String(error)).toMatch(/table "conveyor_jobs" is missing.*autoMigrate: true.*drizzle-kit/);
    expect(await tableNames(sql)).toEqual([]);
    await migrate({ connection: database.url });
    await store.connect();
    await store.disconnect();
  });
});

function asOptions(url: string) {
  const { hostname, port, pathname, username, password } = new URL(url);
  return {
    host: hostname,
    port: Number(port),
    database: pathname.slice(1),
    username,
    password: decodeURIComponent(password),
  };
}

/** What the tables and the record of migrations were last written by. */
async function rowVersions(sql: postgres.Sql): Promise<unknown[]> {
  return [
    ...(await sql`select version, xmin::text, ctid::text from conveyor_migrations order by 1`),
    ...(await sql`select relname, xmin::text from pg_class where relname like 'conveyor%' order by 1`),
  ];
}

async function someJob() {
  const { createJobData } = await import('../../src/index.js');
  return createJobData('q', 'a', { some: 'data' });
}
