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
  it('stores what the schema makes of the data', async () => {
    const queue = await emails();
    const welcome = await queue.add('welcome', { user: { id: 1, tags: [] } });
    expect(welcome.data).toEqual({ user: { id: 1, tags: [] }, locale: 'en' });
    expect((await queue.getJob(welcome.id))?.data).toEqual(welcome.data);
    expect((await queue.add('digest', { day: ' monday ', to: [] })).data).toEqual({ day: 'monday', to: [] });
    expect((await queue.add('receipt', { amount: 5, lines: [] })).data).toEqual({
      amount: 5,
      currency: 'EUR',
      lines: [],
    });
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
