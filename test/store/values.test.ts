import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createJobData, InvalidPayloadError, type NewJobData, PgStore } from '../../src/index.js';
import { encodePayload } from '../../src/model/payload/values.js';
import { useDatabase } from '../support/database.js';

const db = useDatabase();
let store: PgStore;
const prototypeBefore = JSON.stringify(Object.getOwnPropertyNames(Object.prototype).sort());

beforeAll(async () => {
  store = new PgStore({ connection: db.url, autoMigrate: false, listen: false });
  await store.connect();
});
afterAll(async () => {
  expect(JSON.stringify(Object.getOwnPropertyNames(Object.prototype).sort())).toBe(prototypeBefore);
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  await store.disconnect();
});

/** Values per property run: together with the runs, 20,000 cases for payloads. */
const BATCH = 100;
const RUNS = 200;

/** All of Unicode, U+0000 and lone surrogates, and what JSON, SQL and LIKE treat as special. */
const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)) }),
  fc.constantFrom('', '10.5', 'null', '"', "'", '\\', '\\u0000', '%_', '$1', '{}', '[]', '\u0000', '\ud800', '😀'),
);

const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(null, true, false, 0, -0, 1e308, 5e-324, 2 ** 53, -1.5),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    text,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(text, fc.constantFrom('__proto__', 'constructor', 'toString')), tie('value'), {
      maxKeys: 4,
    }),
  ),
})).value;

/** Includes values that JSON cannot represent. */
const anything = fc.oneof(
  { weight: 9, arbitrary: json },
  {
    weight: 1,
    arbitrary: fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withSparseArray: true }),
  },
);

/** The value expected back; undefined if it must be refused. */
function expected(value: unknown): { value: unknown } | undefined {
  try {
    encodePayload(value, { path: 'data', maxBytes: 1_000_000 });
  } catch (error) {
    if (error instanceof InvalidPayloadError) return undefined;
    throw error;
  }
  return { value: JSON.parse(JSON.stringify(value) ?? 'null') };
}

describe('values', () => {
  it('of payloads come back deep-equal, or are refused before any SQL', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anything, { minLength: BATCH, maxLength: BATCH }), async (values) => {
        const good: { job: NewJobData; value: unknown }[] = [];
        const refusals: Promise<unknown>[] = [];
        for (const value of values) {
          const want = expected(value);
          const job = createJobData('q', 'n', value);
          if (want) good.push({ job, value: want.value });
          else refusals.push(expect(store.saveJob('q', job)).rejects.toThrow(InvalidPayloadError));
        }
        // Refused ones beside good ones: nobody's query is disturbed by another's bad value.
        const [ids] = await Promise.all([
          store.saveBulk(
            'q',
            good.map(({ job }) => job),
          ),
          ...refusals,
        ]);
        const rows = await db.sql`select id, data::text as data from conveyor_jobs where queue_name = 'q'`;
        const stored = new Map(rows.map((row) => [row['id'] as string, JSON.parse(row['data'] as string)]));
        good.forEach(({ value }, i) => {
          expect(stored.get(ids[i] as string)).toEqual(value);
        });
        await db.sql`delete from conveyor_jobs where queue_name = 'q'`;
      }),
      { numRuns: RUNS },
    );
  });

  it('of the other fields come back as they went in, cleaned, or are refused', { timeout: 120_000 }, async () => {
    const field = fc.record({
      returnvalue: json,
      progress: fc.double({ min: 0, max: 100, noNaN: true }),
      name: text,
      id: text,
      key: text,
      group: text,
      lines: fc.array(text, { maxLength: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(field, async ({ returnvalue, progress, name, id, key, group, lines }) => {
        const base = createJobData('f', 'n', null);
        const job: NewJobData = {
          ...base,
          id,
          name,
          returnvalue,
          progress: Math.abs(progress),
          deduplicationKey: key,
          groupId: group,
          logs: lines,
        };
        const outcome = await store.saveJob('f', job).catch((error: unknown) => error);
        if (typeof outcome === 'string') {
          const back = await store.getJob('f', outcome);
          expect(back).toMatchObject({ id, name, progress: Math.abs(progress), deduplicationKey: key, groupId: group });
          expect(back?.returnvalue ?? null).toEqual(JSON.parse(JSON.stringify(returnvalue)));
          expect(back?.logs).toEqual(lines);
        } else {
          expect(['TypeError', 'RangeError', 'InvalidPayloadError']).toContain((outcome as Error).name);
        }
        await db.sql`delete from conveyor_jobs where queue_name = 'f'`;
      }),
      { numRuns: 1_000 },
    );
  });

  it('refused do not disturb what other callers send at the same time', async () => {
    const bad = [1n, () => 1, Number.NaN, '\u0000', '\ud800', new Map(), [undefined]];
    const jobs = Array.from({ length: 200 }, (_, i) =>
      i % 2 === 0
        ? store.saveJob('m', createJobData('m', 'n', { i }))
        : store.saveJob('m', createJobData('m', 'n', { v: bad[i % bad.length] })).catch((error: Error) => error.name),
    );
    const results = await Promise.all(jobs);
    for (let i = 0; i < results.length; i += 2) {
      expect((await store.getJob('m', results[i] as string))?.data).toEqual({ i });
      expect(results[i + 1]).toBe('InvalidPayloadError');
    }
  });

  it('__proto__ as a key is a key', async () => {
    const data = JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}');
    const id = await store.saveJob('p', createJobData('p', 'n', data));
    const back = await store.getJob('p', id);
    expect(JSON.stringify(back?.data)).toContain('"__proto__":{"polluted":true}');
  });
});
