import type { StandardSchemaV1 } from '@standard-schema/spec';
import { type } from 'arktype';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defineQueue, defineWorker, InvalidPayloadError, Queue } from '../../src/index.js';
import { newName, record, usePlayground } from '../support/playground.js';
import { countStatements } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

const schemas = {
  welcome: z.object({
    user: z.object({ id: z.number(), tags: z.array(z.string()) }),
    locale: z.string().default('en'),
  }),
  digest: v.object({ day: v.pipe(v.string(), v.trim(), v.nonEmpty()), to: v.array(v.object({ address: v.string() })) }),
  checked: z.string().refine(async (text) => text !== 'bad', 'is bad'),
  receipt: type({ amount: 'number > 0', currency: "string = 'EUR'", lines: type({ text: 'string' }).array() }),
};

const emails = async () => defineQueue(newName(), { store: await play.open(), schemas });

describe('add', () => {
  it('stores the input, for the worker to make the output of', async () => {
    const queue = await emails();
    const welcome = await queue.add('welcome', { user: { id: 1, tags: [] } });
    expect(welcome.data).toEqual({ user: { id: 1, tags: [] } });
    expect((await queue.getJob(welcome.id))?.data).toEqual(welcome.data);
    expect((await queue.add('digest', { day: ' monday ', to: [] })).data).toEqual({ day: ' monday ', to: [] });
    expect((await queue.add('receipt', { amount: 5, lines: [] })).data).toEqual({ amount: 5, lines: [] });
    const [bulk] = await queue.addBulk([{ name: 'checked', data: 'fine' }]);
    expect(bulk?.data).toBe('fine');
  });

  it.each<[string, unknown, string, RegExp]>([
    ['welcome', { user: { id: 'x', tags: [] } }, 'data.user.id', /of job "welcome": .*number/],
    ['welcome', { user: { id: 1, tags: ['a', 5] } }, 'data.user.tags[1]', /string/],
    ['welcome', 'text', 'data', /object/],
    ['digest', { day: '  ', to: [] }, 'data.day', /of job "digest"/],
    ['digest', { day: 'x', to: [{ address: 'a' }, { address: 1 }] }, 'data.to[1].address', /string/i],
    ['checked', 'bad', 'data', /is bad/],
    ['receipt', { amount: 0, lines: [] }, 'data.amount', /of job "receipt": .*positive/],
    ['receipt', { amount: 1, lines: [{ text: 'a' }, { text: 2 }] }, 'data.lines[1].text', /string/],
  ])('%s: %j is refused at %s, before any SQL', async (name, data, path, message) => {
    const queue = await emails();
    const statements = countStatements(play.stores.at(-1)!);
    for (const add of [
      () => queue.add(name as never, data as never),
      () => queue.addBulk([{ name: name as 'checked', data: data as string }]),
      () => queue.withTransaction({ execute: async () => [] }).add(name as never, data as never),
    ]) {
      const error = await add().catch((e: unknown) => e);
      expect(error).toBeInstanceOf(InvalidPayloadError);
      expect(error).toMatchObject({ path, message: expect.stringMatching(message) });
    }
    expect(statements.names).toEqual([]);
  });

  it('says how many more issues there are', async () => {
    const queue = await emails();
    await expect(queue.add('welcome', { user: { id: 'x', tags: 5 } } as never)).rejects.toThrow(/\(and 1 more\)/);
  });

  it.each(['welcom', 'constructor', '__proto__', 'toString'])(
    'a name without a schema is refused: %s',
    async (name) => {
      const queue = await emails();
      await expect(queue.add(name as never, {} as never)).rejects.toMatchObject({
        code: 'UNKNOWN_JOB_NAME',
        message: expect.stringMatching(/has no schema for jobs named .*; it knows welcome, digest, checked, receipt/),
      });
    },
  );
});

const AT = new Date('2026-01-02T03:04:05.678Z');
const codec = z.codec(z.iso.datetime(), z.date(), {
  decode: (text) => new Date(text),
  encode: (date) => date.toISOString(),
});
class Money {
  readonly cents: number;
  constructor(cents: number) {
    this.cents = cents;
  }
  toJSON(): string {
    return `${this.cents} cents`;
  }
}
const money = z
  .union([z.instanceof(Money), z.string().regex(/^\d+ cents$/)])
  .transform((value) => (typeof value === 'string' ? new Money(Number.parseInt(value, 10)) : value));

describe('one schema on both ends', () => {
  it.each<[string, StandardSchemaV1, unknown, unknown, unknown]>([
    ['coerce.date', z.object({ at: z.coerce.date() }), { at: AT }, { at: AT.toISOString() }, { at: AT }],
    ['codec', z.object({ at: codec }), { at: AT.toISOString() }, { at: AT.toISOString() }, { at: AT }],
    ['stringbool', z.object({ on: z.stringbool() }), { on: 'yes' }, { on: 'yes' }, { on: true }],
    ['transform', z.string().transform((text) => text.length), 'four', 'four', 4],
    ['pipe', z.string().transform(Number).pipe(z.number().max(9)), '7', '7', 7],
    ['default', z.object({ to: z.string().default('all') }), {}, {}, { to: 'all' }],
    ['undefined', z.object({ a: z.string().optional() }), { a: undefined }, {}, {}],
    ['coerce.bigint', z.coerce.bigint(), '12', '12', 12n],
    ['iso.date', z.object({ day: z.iso.date() }), { day: '2026-01-02' }, { day: '2026-01-02' }, { day: '2026-01-02' }],
    ['toJSON', z.object({ price: money }), { price: new Money(5) }, { price: '5 cents' }, { price: new Money(5) }],
    ['valibot', v.pipe(v.string(), v.transform(Number), v.number()), '7', '7', 7],
    ['arktype', type({ amount: 'string.numeric.parse' }), { amount: '5' }, { amount: '5' }, { amount: 5 }],
    ['set', z.array(z.number()).transform((list) => new Set(list)), [1, 2], [1, 2], new Set([1, 2])],
  ])(
    '%s: what is stored is the input, what the handler gets is the output',
    async (_, schema, input, stored, output) => {
      const store = await play.open();
      const queue = defineQueue(newName(), { store, schemas: { work: schema } });
      const seen: unknown[] = [];
      const worker = defineWorker(queue.name, async (job) => void seen.push(job.data), {
        store,
        schemas: { work: schema },
      });
      const completed: unknown[] = [];
      worker.on('completed', ({ job }) => completed.push(job.data));
      const job = await queue.add('work', input);
      expect(job.data).toEqual(stored);
      await job.waitUntilFinished();
      expect(seen).toEqual([output]);
      expect((await queue.getJob(job.id))?.data).toEqual(stored);
      await until(() => completed.length === 1);
      expect(completed).toEqual([stored]);
      await worker.close();
    },
  );

  it.each<[string, StandardSchemaV1, unknown, string]>([
    ['date', z.object({ user: z.object({ born: z.date() }) }), { user: { born: AT } }, 'data.user.born'],
    ['instance', z.object({ all: z.array(z.instanceof(Money)) }), { all: [new Money(1)] }, 'data.all[0]'],
    ['coerce.number of a date', z.object({ at: z.coerce.number() }), { at: AT }, 'data.at'],
    ['valibot date', v.object({ at: v.date() }), { at: AT }, 'data.at'],
    ['bigint', z.object({ n: z.bigint() }), { n: 1n }, 'data.n'],
    ['map', z.object({ m: z.map(z.string(), z.number()) }), { m: new Map() }, 'data.m'],
  ])('%s: what cannot come back is refused by add, before any SQL', async (_, schema, input, path) => {
    const store = await play.open();
    const queue = defineQueue(newName(), { store, schemas: { work: schema } });
    const statements = countStatements(store);
    for (const add of [() => queue.add('work', input), () => queue.addBulk([{ name: 'work', data: input }])]) {
      const error = await add().catch((e: unknown) => e);
      expect(error).toBeInstanceOf(InvalidPayloadError);
      expect(error).toMatchObject({ path, message: expect.stringMatching(/JSON/) });
    }
    expect(statements.names).toEqual([]);
  });

  it('says what to write instead of a date', async () => {
    const queue = defineQueue(newName(), { store: await play.open(), schemas: { work: z.object({ at: z.date() }) } });
    await expect(queue.add('work', { at: AT })).rejects.toThrow(
      /^data\.at of job "work" passes its schema, but not when it comes back from JSON.*z\.coerce\.date\(\)/,
    );
  });

  it('is run once for data that JSON does not change', async () => {
    let runs = 0;
    const counted = z.object({ a: z.array(z.number()) }).refine(() => ++runs > 0);
    const queue = defineQueue(newName(), { store: await play.open(), schemas: { work: counted } });
    await queue.add('work', { a: [1, 2] });
    expect(runs).toBe(1);
  });

  it('also holds for updateData, which takes the input', async () => {
    const store = await play.open();
    const schema = z.object({ at: z.coerce.date() });
    const queue = defineQueue(newName(), { store, schemas: { work: schema } });
    const job = await queue.add('work', { at: AT });
    await job.updateData({ at: new Date(0) });
    expect(job.data).toEqual({ at: new Date(0).toISOString() });
    const found = await queue.getJob(job.id);
    await expect(found?.updateData({ at: 'never' })).rejects.toMatchObject({
      code: 'INVALID_PAYLOAD',
      path: 'data.at',
    });
    const seen: unknown[] = [];
    const worker = defineWorker(
      queue.name,
      async (each) => {
        seen.push(each.data);
        await each.updateData({ at: AT });
        seen.push(each.data);
        await each.updateData({ at: 'never' } as never).catch((error) => seen.push(error.path));
      },
      { store, schemas: { work: schema } },
    );
    await job.waitUntilFinished();
    expect(seen).toEqual([{ at: new Date(0) }, { at: AT }, 'data.at']);
    expect((await queue.getJob(job.id))?.data).toEqual({ at: AT.toISOString() });
    await worker.close();
  });

  it('a worker without schemas gets the input', async () => {
    const store = await play.open();
    const queue = defineQueue(newName(), { store, schemas: { work: z.object({ at: z.coerce.date() }) } });
    const worker = play.worker(queue, store, ({ data }) => data);
    expect(await (await queue.add('work', { at: AT })).waitUntilFinished()).toEqual({ at: AT.toISOString() });
    await worker.close();
  });

  it('repeats with it', async () => {
    const store = await play.open();
    const schemas = { work: z.object({ at: z.coerce.date() }) };
    const queue = defineQueue(newName(), { store, schemas });
    const seen: unknown[] = [];
    const worker = defineWorker(queue.name, async (job) => void seen.push(job.data), { store, schemas });
    await queue.every(100, 'work', { at: AT }, { repeat: { key: 'tick' } });
    await until(() => seen.length >= 3);
    expect(seen.slice(0, 3)).toEqual([{ at: AT }, { at: AT }, { at: AT }]);
    await queue.removeSchedule('tick');
    await worker.close();
  });
});

describe('a worker', () => {
  it('checks again, and hands out what the schema makes of the data', async () => {
    const store = await play.open();
    const queue = new Queue(newName(), { store });
    const seen: unknown[] = [];
    const worker = defineWorker(queue.name, async (job) => void seen.push(job.data), { store, schemas });
    await (await queue.add('welcome', { user: { id: 1, tags: [] } })).waitUntilFinished();
    expect(seen).toEqual([{ user: { id: 1, tags: [] }, locale: 'en' }]);
    await worker.close();
  });

  it('fails a job whose data does not fit, for good, without calling the handler', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    let runs = 0;
    const worker = play.worker(queue, store, () => void runs++, { schemas });
    const heard = record(worker);
    const job = await queue.add('welcome', { user: { id: 'x', tags: [] } }, { attempts: 5 });
    await expect(job.waitUntilFinished()).rejects.toThrow(/data.user.id of job "welcome"/);
    await until(() => heard.failed.length === 1);
    expect(heard.failed[0]?.error).toBeInstanceOf(InvalidPayloadError);
    expect((await queue.getJob(job.id))?.attemptsMade).toBe(1);
    expect(runs).toBe(0);
  });

  it('a bad job of a batch does not keep the others from running', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const jobs = await queue.addBulk(['fine', 'bad', 'good'].map((data) => ({ name: 'checked', data })));
    const sizes: number[] = [];
    const worker = defineWorker(
      queue.name,
      async (batch) => {
        sizes.push(batch.length);
        return batch.map(({ data }) => ({ status: 'completed', value: data }));
      },
      { store, schemas, batch: { size: 10 }, autoStart: false },
    );
    worker.start();
    const results = await Promise.allSettled(jobs.map((job) => job.waitUntilFinished()));
    expect(results.map((result) => (result.status === 'fulfilled' ? result.value : String(result.reason)))).toEqual([
      'fine',
      expect.stringContaining('is bad'),
      'good',
    ]);
    expect(sizes).toEqual([2]);
    await worker.close();
  });

  it('runs jobs of other names unchecked', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    play.worker(queue, store, ({ data }) => data, { schemas });
    for (const name of ['other', 'constructor', '__proto__']) {
      expect(await (await queue.add(name, { any: 1 })).waitUntilFinished()).toEqual({ any: 1 });
    }
  });

  it('a job that is cancelled while its data is checked never runs', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const [checking, go] = [deferred(), deferred()];
    const validate = async (value: unknown) => {
      checking.resolve();
      await go.promise;
      return { value };
    };
    const slow = { '~standard': { version: 1 as const, vendor: 'test', validate } };
    let runs = 0;
    const worker = play.worker(queue, store, () => void runs++, { schemas: { work: slow } });
    const heard = record(worker);
    const job = await queue.add('work', null);
    await checking.promise;
    await job.cancel();
    await until(() => heard.cancelled.length === 1);
    go.resolve();
    await expect(job.waitUntilFinished()).rejects.toThrow('Job cancelled');
    expect(runs).toBe(0);
  });

  it('a schema that throws once has failed one attempt', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    let runs = 0;
    const flaky = z.string().refine(async () => {
      if (++runs === 1) throw new Error('no connection');
      return true;
    });
    play.worker(queue, store, ({ data }) => data, { schemas: { work: flaky } });
    expect(await (await queue.add('work', 'text', { attempts: 2 })).waitUntilFinished()).toBe('text');
    expect(runs).toBe(2);
  });

  it('a schema that throws fails the job, and not the worker', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const broken = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: () => {
          throw new Error('a broken schema');
        },
      },
    };
    play.worker(queue, store, () => 'ran', { schemas: { work: broken } });
    await expect((await queue.add('work', null)).waitUntilFinished()).rejects.toThrow('a broken schema');
    expect(await (await queue.add('other', null)).waitUntilFinished()).toBe('ran');
  });
});
