import { describe, expect, it } from 'vitest';
import { cleanText, errorText } from '../../src/model/payload/values.js';
import { hostile, throwError } from './odd-values.js';

describe('cleanText', () => {
  it('replaces what Postgres cannot hold', () => {
    expect(cleanText('plain 😀')).toBe('plain 😀');
    expect(cleanText('a\0\0b\ud83d\ude00\ud83d')).toBe('a\ufffd\ufffdb😀\ufffd');
  });
});

describe('errorText', () => {
  it.each<[unknown, string]>([
    [new Error('why'), 'why'],
    [new Error(''), 'Error'],
    [Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' }), 'AggregateError (ECONNREFUSED)'],
    ['text', 'text'],
    ['', ''],
    [null, 'null'],
    [undefined, 'undefined'],
    [42, '42'],
    [5n, '5'],
    [Symbol('s'), 'Symbol(s)'],
    [{ message: 'from an object' }, 'from an object'],
    [{ reason: 1 }, '{"reason":1}'],
    [function named() {}, 'function named'],
    [new Error('a\0b\ud800'), 'a\ufffdb\ufffd'],
  ])('%o says %j', (thrown, message) => {
    expect(errorText(thrown).message).toBe(message);
  });

  it('has the stack of an Error only', () => {
    const error = new Error('why');
    expect(errorText(error).stack).toBe(error.stack);
    expect(errorText('why').stack).toBeNull();
    expect(errorText({ stack: 5 }).stack).toBeNull();
  });

  it('is capped, without half a character at the end', () => {
    const error = new Error(`x${'😀'.repeat(20_000)}`);
    error.stack = `x${'😀'.repeat(20_000)}`;
    const { message, stack } = errorText(error);
    expect(message.length).toBeLessThanOrEqual(10_000);
    expect(stack!.length).toBeLessThanOrEqual(20_000);
    expect(message.isWellFormed() && stack!.isWellFormed()).toBe(true);
    expect(message.endsWith('😀…')).toBe(true);
    expect(errorText('y'.repeat(10_000)).message).toBe('y'.repeat(10_000));
  });

  it('outlives hostile objects', () => {
    for (const value of hostile()) expect(typeof errorText(value).message).toBe('string');
    const error = new Error('hidden');
    Object.defineProperty(error, 'message', { get: throwError });
    expect(errorText(error).message).toBe('Error');
  });
});
