import { beforeAll, expect, it } from 'vitest';
import { type PgStore, Worker } from '../../src/index.js';
import { newName, usePlayground } from '../support/playground.js';

const play = usePlayground();
let store: PgStore;
beforeAll(async () => {
  store = await play.openForAll();
});

const BAD_OPTIONS: [string, unknown, RegExp][] = [
  ['store', {}, /options.store must be a PgStore/],
  ['concurrency', 0, /concurrency is 0/],
  ['concurrency', 1.5, /concurrency is 1.5/],
  ['concurrency', '2', /concurrency is "2"/],
  ['maxGlobalConcurrency', 0, /maxGlobalConcurrency is 0/],
  ['limiter', { max: 0, duration: 1 }, /limiter.max is 0/],
  ['limiter', { max: 1 }, /limiter.duration is undefined/],
  ['limiter', 5, /limiter is 5/],
  ['lockDuration', 0, /lockDuration is 0/],
  ['lockDuration', 2 ** 31, /lockDuration/],
  ['stalledInterval', -1, /stalledInterval is -1/],
  ['maxStalledCount', -1, /maxStalledCount is -1/],
  ['autoStart', 'no', /autoStart is "no"; it must be true or false/],
  ['lifo', 1, /lifo is 1; it must be true or false/],
  ['batch', {}, /batch.size is undefined/],
  ['batch', { size: 0 }, /batch.size is 0/],
  ['batch', 10, /batch is 10/],
  ['group', 5, /group is 5/],
  ['group', { concurrency: 0 }, /group.concurrency is 0/],
  ['group', { limiter: { max: 1, duration: 0 } }, /group.limiter.duration is 0/],
  ['backoffStrategy', 5, /backoffStrategy must be a function/],
  ['schemas', { a: 1 }, /schemas\["a"\] is not a Standard Schema/],
  ['schemas', [1], /schemas is an array/],
  ['schemas', null, /schemas is null/],
  ['logger', {}, /logger/],
  ['concurency', 2, /no option "concurency". Did you mean concurrency\?/],
];

it.each(BAD_OPTIONS)('%s: %j', (option, value, message) => {
  expect(() => new Worker(newName(), () => {}, { store, [option]: value } as never)).toThrow(message);
});

it('a processor that is no function, a name that is none', () => {
  expect(() => new Worker(newName(), undefined as never, { store })).toThrow('Worker processor must be a function.');
  expect(() => new Worker('', () => {}, { store })).toThrow(/queue name is ""/);
  expect(() => new Worker('q', () => {}, undefined as never)).toThrow(/options is undefined/);
});

it('a force timeout that is none', async () => {
  const worker = new Worker(newName(), () => {}, { store });
  expect(() => worker.close(-1)).toThrow(/forceTimeout is -1/);
  expect(() => worker.close('soon' as never)).toThrow(/forceTimeout is "soon"/);
  await worker.close();
});

it('a handler of an event that is none', async () => {
  await using worker = new Worker(newName(), () => {}, { store, autoStart: false });
  expect(() => worker.on('completed', undefined as never)).toThrow(/needs a function/);
});
