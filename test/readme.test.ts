/** What the README says is so: its code compiles and runs, and its tables leave nothing out. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { resolveWorkerOptions, type WorkerOptions } from '../src/core/worker/worker-options.js';
import * as api from '../src/index.js';
import { TUNING } from '../src/migrations/tuning.js';
import { resolveJobOptions } from '../src/model/options/job-options.js';
import { useDatabase } from './support/database.js';
import { spawnScript } from './support/process.js';

const root = resolve(import.meta.dirname, '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');

interface Block {
  /** As in its first line, `// schema.ts`, or made up from the line where it begins. */
  readonly file: string;
  readonly runs: boolean;
  /** Behind as many empty lines that the compiler's line numbers are the README's. */
  readonly code: string;
}

/** As many empty lines instead: its queries are run by a test of their own, with their own tables. */
const others = readme.replace(/^## Query jobs with Drizzle$.*?(?=^## )/ms, (section) => section.replace(/[^\n]+/g, ''));

const blocks: Block[] = [...others.matchAll(/^(<!-- run -->\n)?```ts\n(.*?)^```$/gms)].map((match) => {
  const [, mark, code = ''] = match;
  const before = others.slice(0, match.index).split('\n').length + (mark ? 1 : 0);
  return {
    file: /^\/\/ (\S+\.ts)\n/.exec(code)?.[1] ?? `readme-${before}.ts`,
    runs: mark !== undefined,
    code: '\n'.repeat(before) + code,
  };
});

/** What the README's code takes as given. It stays when a block declares something of the same name. */
const context = `
import { type JobMap, PgStore, Queue, Worker } from '@conveyor/store-pg';
import { drizzle } from 'drizzle-orm/postgres-js';

type MailJobs = JobMap<{ welcome: { userId: number }; digest: { userId: number; day: string } }>;

declare global {
  var db: ReturnType<typeof drizzle>;
  var store: PgStore;
  var queue: Queue<MailJobs>;
  var worker: Worker<MailJobs>;
  var imports: Queue<{ customer: string }>;
  function sendMail(userId: number, text: string, options: { signal: AbortSignal }): Promise<void>;
}

globalThis.db = drizzle(process.env.DATABASE_URL!);
globalThis.store = new PgStore({ connection: process.env.DATABASE_URL! });
await store.connect();
globalThis.queue = new Queue('mail', { store });
globalThis.worker = new Worker('mail', async () => ({ sent: true }), { store });
globalThis.imports = new Queue('imports', { store });
globalThis.sendMail = async () => {};
`;

const runner = `
import './context.js';
const closed = store.disconnect.bind(store);
const over = new Promise<void>((resolve) => {
  store.disconnect = () => closed().finally(resolve);
});
${blocks
  .filter(({ runs }) => runs)
  .map(({ file }) => `console.log('== ${file}');\nawait import('./${file.replace(/ts$/, 'js')}');`)
  .join('\n')}
// The last of them waits for this to close what the context opened.
process.emit('SIGTERM');
await over;
await db.$client.end();
console.log(JSON.stringify({ over: true }));
`;

/** As much of zod as the README uses, for where zod is not installed. */
const zod = `
import type { StandardSchemaV1 } from '@standard-schema/spec';
const schema = <T>(is: (value: any) => boolean): StandardSchemaV1<T, T> => ({
  '~standard': {
    version: 1,
    vendor: 'readme',
    validate: (value) => (is(value) ? { value: value as T } : { issues: [{ message: 'invalid' }] }),
  },
});
type Shape = Record<string, StandardSchemaV1>;
export const z = {
  number: () => schema<number>((value) => typeof value === 'number'),
  string: () => schema<string>((value) => typeof value === 'string'),
  object: <S extends Shape>(shape: S) =>
    schema<{ [K in keyof S]: StandardSchemaV1.InferInput<S[K]> }>(
      (value) => Object.entries(shape).every(([key, of]) => !(of['~standard'].validate(value?.[key]) as any).issues),
    ),
};
`;

/** Where the compiler finds this package by its name: in the sources, as the repository's own examples do. */
function sources(): Record<string, string[]> {
  const { compilerOptions } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8')) as {
    compilerOptions: { paths: Record<string, string[]> };
  };
  return Object.fromEntries(
    Object.entries(compilerOptions.paths).map(([name, paths]) => [name, paths.map((path) => join(root, path))]),
  );
}

let folder: string;
const database = useDatabase();

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'conveyor-readme-'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  const files: Record<string, string> = {
    'context.ts': context,
    'run.ts': runner,
    'zod.ts': zod,
    'package.json': JSON.stringify({ type: 'module' }),
    'tsconfig.json': JSON.stringify({
      compilerOptions: {
        target: 'es2023',
        module: 'nodenext',
        types: ['node'],
        strict: true,
        skipLibCheck: true,
        noEmit: true,
        paths: {
          ...sources(),
          ...(existsSync(join(root, 'node_modules/zod')) ? {} : { zod: ['./zod.ts'] }),
        },
      },
      include: ['*.ts'],
    }),
    ...Object.fromEntries(blocks.map(({ file, code }) => [file, code])),
  };
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
});

afterAll(() => rmSync(folder, { recursive: true }));

test('its code compiles', async () => {
  expect(blocks.length).toBeGreaterThan(10);
  const tsc = join(dirname(fileURLToPath(import.meta.resolve('typescript/package.json'))), 'bin/tsc');
  const said = await new Promise<string>((done) => {
    execFile(process.execPath, [tsc, '-p', '.', '--pretty', 'false'], { cwd: folder }, (_error, out, err) =>
      done(out + err),
    );
  });
  // Only its own: the sources are checked elsewhere.
  expect(said.split('\n').filter((line) => line.startsWith('readme-') || /^\w+\.ts\(/.test(line))).toEqual([]);
}, 60_000);

test('its code runs', async () => {
  await database.sql`
    create table orders (id int generated always as identity primary key, customer text not null, cents int not null)`;
  const script = spawnScript(join(folder, 'run.ts'), {
    env: {
      DATABASE_URL: database.url,
      DIRECT_URL: database.url,
      POOLER_URL: database.url,
      TSX_TSCONFIG_PATH: join(folder, 'tsconfig.json'),
    },
  });
  expect(await script.exit, script.said()).toBe(0);
  // As its comments say.
  expect(script.said()).toContain('{ sent: true }');
  expect(script.lines).toEqual(expect.arrayContaining([6, { over: true }]));
}, 120_000);

/** The first cells of the rows of the table under a heading, without their marks. */
function names(heading: string, column = 0): string[] {
  const section = readme.split(/^#+ /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('| `'));
  return rows.flatMap((row) => [...(row.split('|')[column + 1] ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name!));
}

/** The options that there are, as the error for one that there is not lists them. */
function known(check: () => unknown): string[] {
  try {
    check();
  } catch (error) {
    return /Known options: (.*)\.$/.exec((error as Error).message)![1]!.split(', ');
  }
  throw new Error('an unknown option was accepted');
}

test('its tables name every option', () => {
  expect(names('Options of a job').sort()).toEqual(known(() => resolveJobOptions({ nonsense: 1 })).sort());
  expect(names('Workers').sort()).toEqual(
    known(() => resolveWorkerOptions({ nonsense: 1 } as unknown as WorkerOptions)).sort(),
  );
  expect(names('Repeating jobs').sort()).toEqual(known(() => resolveJobOptions({ repeat: { nonsense: 1 } })).sort());
  const options = readFileSync(join(root, 'src/store/runtime/options.ts'), 'utf8');
  const resolved = /interface ResolvedOptions \{(.*?)\n\}/s.exec(options)![1]!;
  expect(names('The store').sort()).toEqual([...resolved.matchAll(/readonly (\w+):/g)].map(([, name]) => name).sort());
});

test('its table of errors names every code, with its class', () => {
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  const codes = sources.flatMap((file) =>
    [...readFileSync(join(root, 'src', file), 'utf8').matchAll(/code: '([A-Z_]+)'/g)].map(([, code]) => code!),
  );
  expect(names('Errors')).toEqual(expect.arrayContaining(codes));
  for (const name of new Set(names('Errors', 1))) expect(api, name).toHaveProperty(name);
});

test('docs/errors.md says of every code what to do, and the same of its meaning', () => {
  const page = readFileSync(join(root, 'docs/errors.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `([^`]+)` \| (.*) \| (.+) \|$/gm)].map(([, code, meaning, advice]) => ({
    code,
    row: `| \`${code}\` | ${meaning} |`,
    advice,
  }));
  expect(rows.map(({ code }) => code).sort()).toEqual(names('Errors').sort());
  for (const { row, advice } of rows) {
    expect(readme).toContain(row);
    expect(advice, row).toMatch(/\w/);
  }
});

test('its SQL for storage parameters is what our own migrator runs', () => {
  const plain = (text: string) => text.replace(/\s+/g, ' ');
  for (const statement of TUNING) expect(plain(readme)).toContain(plain(statement));
});
