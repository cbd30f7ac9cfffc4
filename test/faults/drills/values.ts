import { isDeepStrictEqual } from 'node:util';
import * as fc from 'fast-check';
import { type JobOptions, Queue, Worker } from '../../../src/index.js';
import { until } from '../../support/until.js';
import type { Bench, Drill } from '../support/drill.js';
import { some, tally } from '../support/figures.js';

const BATCH = 200;
/** What a caller may be told of a value: before any SQL. */
const REFUSALS = ['TypeError', 'RangeError', 'InvalidPayloadError'];

const SQL = [
  "'; drop table conveyor_jobs; --",
  "' or '1'='1",
  '$1',
  '{{id}}',
  '\\',
  "\\'; --",
  '/* conveyor: settle */',
  '*/ select 1 /*',
  '"',
  '$$',
  '%s',
  "E'\\000'",
  '::jsonb',
  'null',
  '__all__',
  '__proto__',
  '\u2028',
  '👩‍👩‍👧',
  'ﷺ',
  '\u202e',
  'a\nb\tc',
];
const HOLES = ['\u0000', 'a\u0000b', '\ud800', '\udc00x', 'x\ud83d'];
const text = fc.oneof(
  fc.constantFrom(...SQL),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ maxLength: 40 }),
);
const anyText = fc.oneof(text, fc.constantFrom(...HOLES));
/** Of a name, a key or an id: mostly one that is allowed. */
const label = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...SQL.filter((one) => !/\p{Cc}/u.test(one))) },
  { weight: 9, arbitrary: fc.string({ minLength: 1, maxLength: 40 }) },
  { weight: 1, arbitrary: anyText },
);
const json = fc.oneof(fc.jsonValue({ maxDepth: 4, stringUnit: 'binary' }), fc.dictionary(text, text), text);
/** Whatever a handler may return. */
const result = fc.oneof(
  json,
  anyText,
  fc.constantFrom<unknown>(1n, Number.NaN, undefined, () => 1, Symbol('s'), cycle()),
);

function cycle(): object {
  const self: { self?: object } = {};
  self.self = self;
  return self;
}

const item = fc.record({
  name: label,
  data: fc.oneof(
    { weight: 9, arbitrary: json },
    { weight: 1, arbitrary: fc.constantFrom<unknown>(...HOLES, 1n, cycle()) },
  ),
  opts: fc.record({ group: fc.record({ id: label }), deduplication: fc.record({ key: label }) }, { requiredKeys: [] }),
});
type Item = { name: string; data: unknown; opts: JobOptions };

/** Values that other programs choke on, and SQL in every field that is a text. */
export const values: Drill = {
  name: 'values',
  title: 'hostile values in every field: refused before SQL, or back as they went in; no result leaves a job stuck',
  async run(bench) {
    const { random } = bench;
    const store = await bench.open();
    const queue = new Queue('values', { store });
    const results = fc.sample(result, { numRuns: 5_000, seed: random.seed });
    const faults = fc.sample(anyText, { numRuns: 5_000, seed: random.seed });
    let runs = 0;
    const worker = new Worker(
      'values',
      async (job) => {
        const n = runs++ % results.length;
        await job.log(faults[n] as string);
        if (n % 4 === 0) throw Object.assign(new Error(faults[n]), { stack: faults[n] });
        return results[n];
      },
      { store, concurrency: 20 },
    );
    worker.on('error', () => {});
    const refused: Record<string, number> = {};
    const sent = new Map<string, Item>();
    const count = bench.size(10_000, 500_000);
    for (let n = 0; n < count; n += BATCH) {
      const items = fc.sample(item, { numRuns: BATCH, seed: random.int(0, 2 ** 31 - 1) }) as Item[];
      await Promise.all(items.map((one) => add(bench, queue, one, sent, refused)));
    }
    const ended = await until(async () => (await bench.oracle.unended()) === 0, { timeout: 120_000 }).catch(
      () => false,
    );
    await worker.close();
    bench.check(ended, `${await bench.oracle.unended()} jobs have not ended`);
    await judge(bench, sent);
    bench.figure('adds', `${count}, ${sent.size} of them new jobs`);
    bench.figure('refused before SQL', tally(refused));
    bench.figure('handlers called', runs);
  },
};

async function add(
  bench: Bench,
  queue: Queue,
  { name, data, opts }: Item,
  sent: Map<string, Item>,
  refused: Record<string, number>,
): Promise<void> {
  try {
    const { id, data: stored } = await queue.add(name, data, opts);
    // A live job with the same key is returned in its place.
    if (opts.deduplication === undefined || isDeepStrictEqual(stored, plain(data))) sent.set(id, { name, data, opts });
  } catch (error) {
    const kind = (error as Error).name;
    refused[kind] = (refused[kind] ?? 0) + 1;
    if (!REFUSALS.includes(kind)) bench.fault(`refused with ${error}: ${JSON.stringify([name, opts])}`);
  }
}

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value) ?? 'null');

async function judge(bench: Bench, sent: Map<string, Item>): Promise<void> {
  const wrong: string[] = [];
  const rows = bench.sql`select id, name, data::text as data, group_id as group from conveyor_jobs`.cursor(1_000);
  for await (const batch of rows) {
    for (const { id, name, data, group } of batch) {
      const item = sent.get(String(id));
      if (!item || item.opts.deduplication) continue;
      const same = name === item.name && group === (item.opts.group?.id ?? null);
      if (!same || !isDeepStrictEqual(JSON.parse(data), plain(item.data))) wrong.push(JSON.stringify(item));
    }
  }
  bench.check(wrong.length === 0, `stored otherwise than given: ${some(wrong)}`);
}
