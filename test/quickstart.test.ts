import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { useDatabase } from './support/database.js';
import { type Script, spawnScript } from './support/process.js';
import { until } from './support/until.js';

const TIMEOUT = 120_000;
const main = new URL('../examples/quickstart/main.ts', import.meta.url);
const database = useDatabase({ empty: true });

const quickstart = (args: string[], env: Record<string, string>) => spawnScript(main, { args, env });
const onOurServer = (...args: string[]) => quickstart(args, { DATABASE_URL: database.url });

/** What it said, once it has ended with this code. */
async function closingWords(script: Script, code: number): Promise<string> {
  const ended = await script.exit;
  expect(ended, script.said()).toBe(code);
  return script.said();
}

/** Whatever of it is in the database: schemas, tables, other people's connections. */
async function leftovers(): Promise<unknown[]> {
  const { sql } = database;
  const things = await sql`
    select nspname as name from pg_namespace where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')
    union all select relname from pg_class where relnamespace = 'public'::regnamespace`;
  const connections = await sql`
    select application_name as name from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend'
      and (application_name = 'conveyor' or query like '%conveyor%') and pid <> pg_backend_pid()`;
  return [...things, ...connections];
}

test('npm run quickstart runs this example', () => {
  const { scripts } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  expect(scripts.quickstart).toBe('tsx examples/quickstart/main.ts');
});

test(
  'it runs on the server of DATABASE_URL, says that all went well, and leaves nothing there',
  async () => {
    const said = await closingWords(onOurServer(), 0);
    expect(said).toContain('All 18 jobs completed exactly once.');
    expect(said).toMatch(/queue +job +state +count +mean duration/);
    for (const job of ['invoice', 'reminder', 'welcome']) {
      expect(said).toMatch(new RegExp(`^mail-\\w+ +${job} +completed +\\d+ +\\d+ ms$`, 'm'));
    }
    for (const sign of ['50 %', 'delayed', 'failed: the mail server is busy', 'completed by worker 1']) {
      expect(said).toContain(sign);
    }
    expect(await leftovers()).toEqual([]);
  },
  TIMEOUT,
);

test(
  'with --kill it loses no job',
  async () => {
    const said = await closingWords(onOurServer('--kill'), 0);
    expect(said).toContain('kills worker 2');
    expect(said).toMatch(/worker 2 was killed with \d+ jobs in its hands/);
    expect(said).toContain('All 18 jobs completed exactly once.');
    expect(await leftovers()).toEqual([]);
  },
  TIMEOUT,
);

test(
  'interrupted, it takes everything with it: the server that it started, and that one’s files',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'conveyor-quickstart-'));
    chmodSync(folder, 0o755); // as root, it is another user who runs the server
    try {
      const script = quickstart([], { DATABASE_URL: '', TMPDIR: folder });
      await until(() => script.said().includes('completed by'), { timeout: 60_000, what: 'a completed job' });
      expect(readdirSync(folder).some((name) => name.startsWith('conveyor-postgres-'))).toBe(true);
      script.child.kill('SIGINT');
      expect(await closingWords(script, 130)).toContain('interrupted');
      expect(readdirSync(folder).filter((name) => name.startsWith('conveyor-'))).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  TIMEOUT,
);
