import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_MAX_PAYLOAD_BYTES, encodeLenient } from '../../src/model/payload/values.js';
import { circular, expectStorable, explosive, hostile, nested, throwError, throwing } from './odd-values.js';

function lenient(value: unknown) {
  const { text, tooLarge } = encodeLenient(value, DEFAULT_MAX_PAYLOAD_BYTES);
  expect(tooLarge).toBe(false);
  return JSON.parse(text);
}

describe('encodeLenient', () => {
  it('keeps what JSON can hold', () => {
    const value = { a: [1, 'x', null, { b: false }], s: '\\u0000' };
    expect(lenient(value)).toEqual(value);
    expect(encodeLenient(undefined, 100)).toEqual({ text: 'null', tooLarge: false });
  });

  it.each<[unknown, unknown]>([
    ['a\0b\ud800', 'a\ufffdb\ufffd'],
    [{ 'k\0': '\udc00' }, { 'k\ufffd': '\ufffd' }],
    [
      { n: 12n, f() {}, s: Symbol('s'), u: undefined, x: Number.NaN },
      { n: '12', x: null },
    ],
    [
      [1n, () => 1, Symbol('s'), undefined, Number.NEGATIVE_INFINITY],
      ['1', null, null, null, null],
    ],
    [() => 1, null],
    [Symbol('s'), null],
    [7n, '7'],
    [Object(1n), {}],
    [
      { d: new Date(Number.NaN), ok: new Date(0), x: 1n },
      { d: null, ok: '1970-01-01T00:00:00.000Z', x: '1' },
    ],
    [new Error('why'), { name: 'Error', message: 'why' }],
    [Object.assign(new TypeError('why'), { code: 'E1' }), { name: 'TypeError', message: 'why', code: 'E1' }],
    [new Map([['a', 1n]]), [['a', '1']]],
    [new Set([1, 'x\0']), [1, 'x\ufffd']],
    [{ boxed: [Object('a'), Object(1), Object(false)] }, { boxed: ['a', 1, false] }],
    [
      { r: /x/, ok: 1 },
      { r: {}, ok: 1 },
    ],
    [{ a: { toJSON: () => ({ b: 1n }) } }, { a: { b: '1' } }],
  ])('makes the best of %o', (value, kept) => {
    expect(lenient(value)).toEqual(kept);
  });

  it('marks what threw, and keeps the rest', () => {
    expect(lenient({ throwing, ok: 1 })).toEqual({ throwing: { bad: '[Unserializable]', good: 1 }, ok: 1 });
    expect(lenient({ a: { toJSON: throwError }, ok: 1 })).toEqual({ a: '[Unserializable]', ok: 1 });
  });

  it('ends cycles, and only cycles', () => {
    const shared = { a: 1 };
    expect(lenient([shared, shared, 1n])).toEqual([{ a: 1 }, { a: 1 }, '1']);
    expect(lenient(circular())).toEqual({ self: '[Circular]', list: ['[Circular]'] });
    expect(lenient({ big: 'x'.repeat(100_000), c: circular() }).c.self).toBe('[Circular]');
    const returnsItself = { a: 1n, toJSON: () => returnsItself };
    expect(lenient(returnsItself)).toEqual({ a: '1' });
  });

  it('cuts off what is too deep', () => {
    const text = JSON.stringify(lenient(nested(600)));
    expect(text).toContain('[Too deep]');
    expect(text.startsWith('[['.repeat(100))).toBe(true);
  });

  it('gives up what is too large', () => {
    const nothing = { text: 'null', tooLarge: true, bytes: expect.toSatisfy((bytes: number) => bytes > 50) };
    expect(encodeLenient('x'.repeat(100), 50)).toEqual(nothing);
    expect(encodeLenient('ü'.repeat(30), 50)).toEqual(nothing);
    expect(encodeLenient(['x'.repeat(100), 1n], 50)).toEqual(nothing);
    expect(encodeLenient(explosive(), DEFAULT_MAX_PAYLOAD_BYTES)).toEqual(nothing);
    expect(encodeLenient(new Array(2 ** 32 - 1), 1000)).toEqual(nothing);
  });

  it('keeps a field named __proto__ a field', () => {
    const text = encodeLenient(JSON.parse('{"__proto__":{"polluted":"\\u0000"}}'), 1000).text;
    expect(text).toBe('{"__proto__":{"polluted":"\ufffd"}}');
  });

  it('outlives hostile objects', () => {
    for (const value of hostile()) expect(lenient({ value, ok: 1 }).ok).toBe(1);
    for (const value of hostile()) expectStorable(encodeLenient(value, 1000).text);
  });

  it('never throws, and its text can always be stored', () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
      withNullPrototype: true,
      withObjectString: true,
    });
    fc.assert(
      fc.property(
        fc.oneof(anything, fc.string({ unit: 'binary' })),
        fc.integer({ min: 4, max: 2000 }),
        (value, max) => {
          const { text } = encodeLenient(value, max);
          expect(Buffer.byteLength(text)).toBeLessThanOrEqual(max);
          expectStorable(text);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
