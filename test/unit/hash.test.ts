import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvalidPayloadError } from '../../src/model/errors.js';
import { hashJob, hashPayload } from '../../src/model/payload/hash.js';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

describe('hashPayload', () => {
  it('is SHA-256 in hex over key-sorted JSON', () => {
    expect(hashPayload({ b: [1, { d: 'x', c: null }], a: true })).toBe(sha256('{"a":true,"b":[1,{"c":null,"d":"x"}]}'));
    expect(hashPayload('text')).toBe(sha256('"text"'));
    expect(hashPayload(undefined)).toBe(sha256('null'));
  });

  it('does not mind the order of keys, at any depth, but that of items', () => {
    expect(hashPayload({ a: 1, b: { c: 2, d: 3 } })).toBe(hashPayload({ b: { d: 3, c: 2 }, a: 1 }));
    expect(hashPayload([1, 2])).not.toBe(hashPayload([2, 1]));
  });

  it('counts dates', () => {
    const hash = (date: unknown) => hashPayload({ date });
    expect(hash(new Date(1))).not.toBe(hash(new Date(2)));
    expect(hash(new Date(1))).not.toBe(hash({}));
    expect(hash(new Date(1))).toBe(hash(new Date(1)));
  });

  it('tells values apart that look alike', () => {
    const values = [
      null,
      '',
      0,
      false,
      [],
      {},
      '0',
      'null',
      [null],
      [[]],
      [{}],
      { a: null },
      { '': 0 },
      [0, 0],
      '[0,0]',
    ];
    expect(new Set(values.map(hashPayload)).size).toBe(values.length);
  });

  it('does not drop a field named __proto__', () => {
    expect(hashPayload(JSON.parse('{"__proto__":1}'))).toBe(sha256('{"__proto__":1}'));
  });

  it('refuses what cannot be stored, with its path', () => {
    expect(() => hashPayload({ a: { b: 5n } })).toThrow(InvalidPayloadError);
    expect(() => hashPayload({ a: { b: 5n } })).toThrow(/^data\.a\.b /);
  });

  it('is the same for two texts exactly when their sorted JSON is', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.integer()), (fields) => {
        const reversed = Object.fromEntries(Object.entries(fields).reverse());
        expect(hashPayload(reversed)).toBe(hashPayload(fields));
        expect(hashPayload({ ...fields, extra_: 1 })).not.toBe(hashPayload({ ...fields, extra_: 2 }));
      }),
    );
  });
});

describe('hashJob', () => {
  it('never confuses two names', () => {
    const hashes = [
      hashJob('a', 'b'),
      hashJob('a:"b', ''),
      hashJob('ab', ''),
      hashJob('', 'ab'),
      hashJob('a","b', null),
    ];
    expect(new Set(hashes).size).toBe(hashes.length);
    expect(hashJob('a', { x: 1, y: 2 })).toBe(hashJob('a', { y: 2, x: 1 }));
    expect(hashJob('a', { x: 1 })).not.toBe(hashJob('b', { x: 1 }));
  });
});
