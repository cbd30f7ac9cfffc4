/** The tables among an app's own, made and kept by its drizzle-kit, and beside our migrator. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, describe, expect, it } from 'vitest';
import { migrate, PgStore, Queue, SchemaError, Worker } from '../../src/index.js';
import { recordedName } from '../../src/migrations/compatibility.js';
import { MIGRATIONS } from '../../src/migrations/generated.js';
import { createDatabase } from '../support/database.js';
import { type App, MAJORS, type Major, scratchApp } from '../support/scratch.js';

const closing: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

const CHAPTER = readFileSync(join(import.meta.dirname, '../../docs/drizzle.md'), 'utf8');
const NAMES = MIGRATIONS.map(({ name }) => name);
const SCHEMA = `
import { integer, pgTable, text } from 'drizzle-orm/pg-core';
export * from '@conveyor/store-pg/schema';
export const orders = pgTable('orders', { id: integer('id').primaryKey(), email: text('email').notNull() });
`;
const OWN_SCHEMA = `
import { integer, pgTable } from 'drizzle-orm/pg-core';
import { defineConveyor } from '@conveyor/store-pg/schema';
export const orders = pgTable('orders', { id: integer('id').primaryKey() });
export const {
  conveyorSchema,
  conveyorJobs,
  conveyorPausedNames,
  conveyorGroupCursors,
  conveyorRateLimits,
  conveyorSchedules,
  conveyorMetrics,
  conveyorMigrations,
} = defineConveyor('jobs');
`;

interface Kit extends App {
  url: string;
  sql: postgres.Sql;
  generate(): Promise<string>;
  migrate(): Promise<string>;
  /** The statements that it ran. */
  push(): Promise<string[]>;
  /** The SQL of the newest migration. */
  newest(): { file: string; text: string };
}

/** An app with drizzle-kit, and an empty database. */
async function kitApp(major: Major, schema: string, options = ''): Promise<Kit> {
  const app = await scratchApp(major);
  const database = await createDatabase({ empty: true });
  const sql = postgres(database.url, { max: 2, onnotice: () => {} });
  closing.push(async () => {
    await sql.end({ timeout: 1 });
    await database.drop();
  });
  app.write('schema.ts', schema);
  app.write(
    'drizzle.config.ts',
    `import { defineConfig } from 'drizzle-kit';
    export default defineConfig({
      dialect: 'postgresql', schema: './schema.ts', out: './drizzle', dbCredentials: { url: process.env.DATABASE_URL! },
      ${options}
    });`,
  );
  const kit = async (...args: string[]) => (await app.kit(args, { DATABASE_URL: database.url })).stdout;
  let generated = 0;
  return {
    ...app,
    url: database.url,
    sql,
    generate: () => kit('generate', '--name', `step_${++generated}`),
    migrate: () => kit('migrate'),
    push: async () => statementsOf(await kit('push', '--force', '--verbose')),
    newest() {
      const folder = join(app.folder, 'drizzle');
      const file = readdirSync(folder, { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.sql'))
        .sort()
        .at(-1) as string;
      return { file: join(folder, file), text: readFileSync(join(folder, file), 'utf8') };
    },
  };
}

/**
 * What a push did. drizzle-kit 0.x reads the columns of a primary key in whatever order the plan of its query gives them
 * in, and takes another order than the schema's for a change: so at times, depending on the catalog's statistics, it
 * makes keys of several columns anew.
 */
function statementsOf(said: string): string[] {
  const statements = said.split('\n').filter((line) => /^\s*(create|alter|drop|truncate|delete|update)\b/i.test(line));
  return statements.filter((line) => !/^\s*ALTER TABLE \S+ (DROP|ADD) CONSTRAINT "conveyor_\w+_pkey"/.test(line));
}

/** The store takes the tables as they are, and jobs run. */
async function works(url: string, schema?: string): Promise<void> {
  const store = new PgStore({ connection: url, autoMigrate: false, ...(schema && { schema }) });
  await store.connect();
  const queue = new Queue<number>('kit', { store });
  const worker = new Worker<number>('kit', async (job) => job.data + 1, { store });
  const job = await queue.add('increment', 1);
  expect(await job.waitUntilFinished(10_000)).toBe(2);
  await worker.close();
  await store.disconnect();
}

const recorded = async (sql: postgres.Sql, schema = 'public') =>
  (await sql.unsafe(`select version, name from ${schema}.conveyor_migrations order by version`)).map(
    ({ name }) => name,
  );

describe.each(MAJORS)('drizzle-kit for %s', { timeout: 240_000 }, (major) => {
  it('generates our tables with the app’s once, and migrates; the store takes them as they are', async () => {
    const kit = await kitApp(major, SCHEMA);
    await kit.generate();
    for (const table of ['orders', 'conveyor_jobs']) expect(kit.newest().text).toContain(`CREATE TABLE "${table}"`);
    await kit.migrate();
    expect(await kit.generate()).toContain('No schema changes');
    await works(kit.url);
    expect(await recorded(kit.sql)).toEqual([]);
    // What the app's migrations made is what a push would make.
    expect(await kit.push()).toEqual([]);

    // A store that may migrate adopts them, and writes that down; whoever comes next finds it done.
    const adopting = new PgStore({ connection: kit.url });
    await adopting.connect();
    await adopting.disconnect();
    expect(await recorded(kit.sql)).toEqual(MIGRATIONS.map((migration) => `${recordedName(migration)} (adopted)`));
    expect(await migrate({ connection: kit.url })).toEqual({ applied: [], adopted: [] });
  });

  it('pushes, and has nothing to push again', async () => {
    const kit = await kitApp(major, SCHEMA);
    expect((await kit.push()).join('\n')).toContain('CREATE TABLE "conveyor_jobs"');
    expect(await kit.push()).toEqual([]);
    await works(kit.url);
    expect((await migrate({ connection: kit.url })).adopted).toEqual(NAMES);
  });

  it('takes the package’s file among the schema files', async () => {
    const kit = await kitApp(major, '');
    const ours = '../../node_modules/@conveyor/store-pg/dist/schema/index.js';
    kit.write('orders.ts', SCHEMA.replace(/export \* from .*/, ''));
    kit.write(
      'drizzle.config.ts',
      `import { defineConfig } from 'drizzle-kit';
      export default defineConfig({ dialect: 'postgresql', schema: ['./orders.ts', '${ours}'], out: './drizzle' });`,
    );
    await kit.generate();
    expect(kit.newest().text).toContain('CREATE TABLE "orders"');
    expect(kit.newest().text).toContain('CREATE TABLE "conveyor_jobs"');
    expect(await kit.generate()).toContain('No schema changes');
  });

  it('leaves alone what our migrator has made, when an app takes it over later', async () => {
    const kit = await kitApp(major, SCHEMA.replace(/export \* from .*/, ''));
    await kit.generate();
    await kit.migrate();
    await migrate({ connection: kit.url });
    const store = new PgStore({ connection: kit.url });
    await store.connect();
    await new Queue('kept', { store }).add('from before', { still: 'here' });
    await store.disconnect();

    // The steps of docs/drizzle.md.
    kit.write('schema.ts', SCHEMA);
    await kit.generate();
    const { file, text } = kit.newest();
    const [, pattern, replacement] = /^\s*`sed -i -E 's\/(.+)\/(.+)\/' <the file>`$/m.exec(CHAPTER) ?? [];
    writeFileSync(
      file,
      text.replace(new RegExp(pattern as string, 'gm'), (replacement as string).replace('\\1', '$1')),
    );
    await kit.migrate();

    expect(await kit.generate()).toContain('No schema changes');
    expect(await kit.push()).toEqual([]);
    expect(await kit.sql`select name, data from conveyor_jobs`).toEqual([
      { name: 'from before', data: { still: 'here' } },
    ]);
    expect(await recorded(kit.sql)).toEqual(MIGRATIONS.map(recordedName));
    await works(kit.url);

    // The same migrations make everything in an empty database.
    const empty = await createDatabase({ empty: true });
    closing.push(empty.drop);
    await kit.kit(['migrate'], { DATABASE_URL: empty.url });
    await works(empty.url);
  });

  it('keeps a second set of tables in a Postgres schema of their own', async () => {
    const kit = await kitApp(major, OWN_SCHEMA, `schemaFilter: ['public', 'jobs'],`);
    await kit.generate();
    await kit.migrate();
    expect(await kit.generate()).toContain('No schema changes');
    expect(await kit.push()).toEqual([]);
    await works(kit.url, 'jobs');
    expect((await migrate({ connection: kit.url, schema: 'jobs' })).adopted).toEqual(NAMES);
    expect(await recorded(kit.sql, 'jobs')).toHaveLength(NAMES.length);
    expect(await kit.sql`select to_regclass('public.conveyor_jobs') as none`).toEqual([{ none: null }]);

    const pushed = await kitApp(major, OWN_SCHEMA, `schemaFilter: ['public', 'jobs'],`);
    expect((await pushed.push()).join('\n')).toContain('CREATE TABLE "jobs"."conveyor_jobs"');
    expect(await pushed.push()).toEqual([]);
    await works(pushed.url, 'jobs');
  });
});

describe('tables that are not as they should be', () => {
  it('are not adopted: the store says what differs, and what to do', async () => {
    const database = await createDatabase({ empty: true });
    closing.push(database.drop);
    const sql = postgres(database.url, { max: 1, onnotice: () => {} });
    closing.unshift(() => sql.end({ timeout: 1 }));
    await migrate({ connection: database.url });
    await sql`delete from conveyor_migrations`;
    await sql`alter table conveyor_jobs drop column lease`;
    await sql`drop index conveyor_jobs_deduplication_idx`;
    await sql`create index conveyor_jobs_deduplication_idx on conveyor_jobs (queue_name)`;
    await sql`alter table conveyor_paused_names drop constraint conveyor_paused_names_pkey`;
    for (const autoMigrate of [true, false]) {
      const store = new PgStore({ connection: database.url, autoMigrate });
      const error = (await store.connect().catch((reason: unknown) => reason)) as Error;
      expect(error).toBeInstanceOf(SchemaError);
      for (const problem of [
        'column "conveyor_jobs.lease" (integer) is missing',
        'index "conveyor_jobs_deduplication_idx" is not unique',
        'index "conveyor_paused_names_pkey" is missing',
        'drizzle-kit generate',
      ]) {
        expect(error.message).toContain(problem);
      }
    }
    // Nothing was touched, and nothing claims that it was.
    expect(await sql`select * from conveyor_migrations`).toEqual([]);
  });

  it('are left to drizzle-kit once they were adopted', async () => {
    const database = await createDatabase({ empty: true });
    closing.push(database.drop);
    const sql = postgres(database.url, { max: 1, onnotice: () => {} });
    closing.unshift(() => sql.end({ timeout: 1 }));
    await migrate({ connection: database.url });
    // As an older version has adopted them: a migration is pending, and a column is missing.
    await sql`delete from conveyor_migrations where version > 1`;
    await sql`update conveyor_migrations set version = 0, name = name || ' (adopted)'`;
    await sql`alter table conveyor_jobs drop column remove_at`;
    await expect(migrate({ connection: database.url })).rejects.toThrow(
      /"conveyor_jobs.remove_at".*not made by this migrator; bring them up to date with drizzle-kit/,
    );
  });
});
