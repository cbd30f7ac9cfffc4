import fc from 'fast-check';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import type { JobOptions, PgStore } from '../../src/index.js';
import { generateId } from '../../src/model/ids.js';
import { insertBatch, type JobRecord, plainRecord } from '../../src/store/add/insert.js';
import { getJobs } from '../../src/store/read/find.js';
import { statementOf, walOf } from '../support/plan.js';
import { newName, usePlayground } from '../support/playground.js';
import { newQueue } from '../support/rows.js';
import { countStatements } from '../support/statements.js';

const play = usePlayground();
let store: PgStore;
beforeAll(async () => {
  store = await play.openForAll();
});

const record = (queue: string, data: unknown, { name = 'work', opts = '{}', priority = 0 } = {}) =>
  plainRecord(queue, generateId(), JSON.stringify(data), { name, opts, priority });

/** The stored payloads of jobs of one queue, in their order. */
async function dataOf(jobs: readonly { id: string; queueName: string }[]): Promise<unknown[]> {
  const ids = jobs.map(({ id }) => id);
  const found = await getJobs(store.engine.executor, jobs[0]?.queueName ?? '', ids);
  return ids.map((id) => found.get(id)?.job.data);
}

/** The same job for the statement that takes any fresh ones. */
const general = ({ queueName, id, data, json, bytes }: JobRecord): JobRecord => ({
  ...{ queueName, id: id.replace(/.$/, 'x'), data, json: json.replace(id, id.replace(/.$/, 'x')), bytes },
  ...{ deduplicationKey: null, fresh: true, plain: undefined },
});

/** What breaks formats that separate, quote or escape. */
const HOSTILE = [
  ...['', ' ', '\n', '\r\n', '\t', '\\', '\\n', '\\\\n', '"', '\\"', "'", "''", '{', '}', '{}', '{a,b}', '[', ','],
  ...[
    'null',
    'NULL',
    '\\N',
    '\\.',
    '$1',
    '%s',
    ';--',
    '\u2028',
    '\u2029',
    '\u0001',
    '\u007f',
    '\u0085',
    '😀',
    'ﬀ',
    '\ufeff',
  ],
];

describe('what comes back is what was added', () => {
  it('of every hostile text, as payload, in it, and as its key', async () => {
    const queue = play.queue(store);
    const data = HOSTILE.flatMap((text) => [text, [text, { [text]: text }], { [text]: `${text}${text}x` }]);
    const jobs = await queue.addBulk(data.map((each) => ({ name: 'work', data: each })));
    expect(await dataOf(jobs)).toEqual(data);
  });

  it('of names and options that differ, and names with line breaks', async () => {
    const queue = play.queue(store);
    const names = HOSTILE.filter((text) => text !== '');
    const options = (n: number): JobOptions =>
      [{}, { attempts: 2 }, { priority: n - 20 }, { attempts: n + 1, backoff: { type: 'fixed' as const, delay: 5 } }][
        n % 4
      ] as JobOptions;
    const added = await queue.addBulk(names.map((name, n) => ({ name, data: n, opts: options(n) })));
    const found = await Promise.all(added.map(({ id }) => queue.getJob(id)));
    expect(found.map((job) => job?.toJSON())).toEqual(added.map((job) => job.toJSON()));
    expect(found.map((job) => [job?.name, job?.data, job?.opts])).toEqual(
      names.map((name, n) => [name, n, options(n)]),
    );
  });

  it('of any JSON', async () => {
    const queue = play.queue(store);
    const text = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom(...HOSTILE));
    const value = fc.oneof(fc.jsonValue({ stringUnit: 'grapheme' }), fc.array(text), fc.dictionary(text, text));
    // jsonb has no U+0000.
    const storable = value.filter((each) => !JSON.stringify(each).includes('\\u0000'));
    await fc.assert(
      fc.asyncProperty(fc.array(storable, { minLength: 1, maxLength: 50 }), async (values) => {
        const jobs = await queue.addBulk(values.map((data) => ({ name: 'work', data })));
        expect(await dataOf(jobs)).toEqual(JSON.parse(JSON.stringify(values)));
      }),
      { numRuns: 30 },
    );
  });
});

it.each([
  ['of one kind', { name: 'work', opts: '{"attempts": 3}', priority: 2 }],
  ['of any kind', undefined],
])('a batch %s makes the rows that the general statement makes', async (_kind, same) => {
  const queues = same ? [newQueue()] : [newQueue(), newQueue()];
  const records = queues.flatMap((queue, n) =>
    Array.from({ length: 5 }, (_, i) =>
      record(queue, { i }, same ?? { name: `n${i}`, opts: `{"a":${n}}`, priority: i }),
    ),
  );
  const saved = await insertBatch(store.engine.executor, records);
  await insertBatch(store.engine.executor, records.map(general));
  const rows = await play.database.sql<{ id: string; row: Record<string, unknown> }[]>`
    select id, to_jsonb(j) - '{id,seq,created_at}'::text[] as row, created_at from conveyor_jobs j
    where queue_name in ${play.database.sql(queues)} order by seq`;
  // In the order of the batch.
  expect(rows.slice(0, records.length).map(({ id }) => id)).toEqual(records.map(({ id }) => id));
  const [plain, others] = [rows.slice(0, records.length), rows.slice(records.length)];
  expect(plain.map(({ row }) => row)).toEqual(others.map(({ row }) => row));
  expect(saved).toEqual(
    plain.map((row) => ({
      id: row.id,
      created: true,
      createdAt: (row as unknown as { created_at: Date }).created_at,
      delayUntil: null,
    })),
  );
});

it('a batch of plain and other jobs is one statement', async () => {
  const other = await play.open();
  const queue = play.queue(other);
  const statements = countStatements(other);
  await queue.addBulk([
    { name: 'plain', data: 1 },
    { name: 'later', data: 2, opts: { delay: 60_000 } },
    { name: 'grouped', data: 3, opts: { group: { id: 'g' } } },
  ]);
  expect(statements.count(/^insert/)).toBe(1);
  expect(statements.count('insert fresh jobs')).toBe(1);
});

it('jobs added to several queues at once are one statement', async () => {
  const other = await play.open();
  const queues = Array.from({ length: 3 }, () => play.queue<string>(other, {}, newName()));
  const statements = countStatements(other);
  const added = await Promise.all(queues.flatMap((queue) => ['a', 'b'].map((data) => queue.add(`job ${data}`, data))));
  expect(statements.count(/^insert plain/)).toBe(1);
  expect(added.map(({ queueName, data }) => [queueName, data])).toEqual(
    queues.flatMap(({ name }) => [
      [name, 'a'],
      [name, 'b'],
    ]),
  );
  for (const queue of queues) expect((await queue.getJobs('waiting')).map(({ data }) => data)).toEqual(['a', 'b']);
});

// Before Postgres 13, EXPLAIN does not tell.
it.skipIf(inject('server').major < 13)(
  'a plain job writes no more WAL than its row and its index entries',
  async () => {
    const note = 'The quick brown fox jumps over the lazy dog and comes back.';
    const email = 'user-1@example.com';
    const records = Array.from({ length: 1_000 }, (_, n) =>
      record('wal', { n, user: 'user-1', email, tags: ['welcome', 'onboarding'], note }),
    );
    const { sql } = play.database;
    const sent = await statementOf((executor) => insertBatch(executor, records));
    // Once more, because a checkpoint between two statements has the next one write whole pages.
    const perJob = Math.min(await walOf(sql, sent), await walOf(sql, sent), await walOf(sql, sent)) / records.length;
    expect(perJob).toBeGreaterThan(400);
    expect(perJob).toBeLessThan(700);
  },
);
