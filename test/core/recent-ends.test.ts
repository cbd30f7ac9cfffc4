import { expect, it } from 'vitest';
import { RecentEnds } from '../../src/core/job/recent-ends.js';
import type { StoreEvent, StoreEventType } from '../../src/index.js';

const event = (type: StoreEventType, details: object = {}) =>
  ({ type, queueName: 'q', jobId: 'x', timestamp: new Date(), ...details }) as StoreEvent;
const ended = event('job:completed', { data: 1 });

it('remembers how jobs ended, and nothing else of them', () => {
  const ends = new RecentEnds();
  const failed = event('job:failed', { data: 'no' });
  ends.note('a', ended);
  ends.note('b', failed);
  ends.note('c', event('job:active'));
  expect([ends.get('a'), ends.get('b'), ends.get('c')]).toEqual([ended, failed, undefined]);
  ends.clear();
  expect(ends.get('a')).toBeUndefined();
});

it('the last thousand of them', () => {
  const ends = new RecentEnds();
  for (let i = 0; i < 1_000; i++) ends.note(`${i}`, ended);
  // Reported again, it is the newest.
  ends.note('0', ended);
  ends.note('one more', ended);
  expect([ends.get('0'), ends.get('1'), ends.get('2')]).toEqual([ended, undefined, ended]);
});

it('no results that are large or were left out', () => {
  const ends = new RecentEnds();
  ends.note('large', event('job:completed', { data: 'x'.repeat(5_000) }));
  ends.note('partial', event('job:completed', { partial: true }));
  expect([ends.get('large'), ends.get('partial')]).toEqual([undefined, undefined]);
});
