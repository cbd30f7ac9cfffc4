import { expect, it } from 'vitest';
import { nearest } from '../../src/model/options/did-you-mean.js';
import { cap, exceedsBytes, show } from '../../src/model/text.js';

it('cap cuts, marks, and does not split a pair', () => {
  expect(cap('abc', 3)).toBe('abc');
  expect(cap('abcd', 3)).toBe('ab…');
  expect(cap('a😀bc', 3)).toBe('a…');
});

it('show is short and never throws', () => {
  expect(show('a"\n')).toBe('"a\\"\\n"');
  expect(show('\ud800\0')).toBe('"\\ud800\\u0000"');
  expect(show('x'.repeat(1000)).length).toBeLessThan(100);
  expect(show(-0)).toBe('-0');
  expect(show(10n ** 100n).length).toBeLessThan(50);
  expect(show(Symbol('s'))).toBe('a symbol');
  expect(show(null)).toBe('null');
  expect(show({ toString: null })).toBe('an object');
});

it('exceedsBytes counts UTF-8', () => {
  expect(exceedsBytes('üü', 4)).toBe(false);
  expect(exceedsBytes('üü', 3)).toBe(true);
  expect(exceedsBytes('abcd', 3)).toBe(true);
});

it('nearest guesses what was meant, or nothing', () => {
  expect(nearest('atempts', ['attempts', 'delay'])).toBe('attempts');
  expect(nearest('JOBID', ['jobId'])).toBe('jobId');
  expect(nearest('removeOnCompleted', ['removeOnFail', 'removeOnComplete'])).toBe('removeOnComplete');
  expect(nearest('zzzzzzzz', ['attempts', 'delay'])).toBeUndefined();
  expect(nearest('x'.repeat(1e6), ['attempts'])).toBeUndefined();
});
