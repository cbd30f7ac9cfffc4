import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvalidPayloadError } from '../../src/model/errors.js';
import { DEFAULT_MAX_PAYLOAD_BYTES, encodePayload } from '../../src/model/payload/values.js';
import { circular, expectStorable, explosive, hostile, nested, throwError, throwing } from './odd-values.js';

const encode = (value: unknown, maxBytes = DEFAULT_MAX_PAYLOAD_BYTES) =>
  encodePayload(value, { path: 'data', maxBytes });

function refusal(value: unknown, maxBytes?: number): InvalidPayloadError {
  try {
    encode(value, maxBytes);
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidPayloadError);
    return error as InvalidPayloadError;
  }
  throw new Error('was accepted');
}

describe('encodePayload', () => {
  it.each<unknown>([
    null,
    false,
    true,
    0,
    -1.5,
    5e-324,
    1.7976931348623157e308,
    '',
    '10.5',
    '\\u0000',
    '\\\\u0000',
    'C:\\users',
    '"quotes" \\ \n\t\u0001\u001b\u007f\u2028',
    '😀 ü 漢',
    '\ufffd\uffff',
    [],
    {},
    [[], {}, null, [false]],
    { a: { b: { c: [1, 'two', null] } }, '': 0, 'a.b': 1, toString: 'x', constructor: 1, length: 3, toJSON: 'text' },
  ])('holds %j exactly', (value) => {
    expect(JSON.parse(encode(value))).toEqual(value);
    expect(encode(value)).toBe(JSON.stringify(value));
  });

  it('does as JSON does with undefined, -0, dates, toJSON and instances', () => {
    expect(encode(undefined)).toBe('null');
    expect(encode({ a: undefined, b: 1 })).toBe('{"b":1}');
    expect(encode(-0)).toBe('0');
    expect(encode({ at: new Date(0) })).toBe('{"at":"1970-01-01T00:00:00.000Z"}');
    expect(encode({ url: new URL('https://example.com/') })).toBe('{"url":"https://example.com/"}');
    expect(encode({ toJSON: () => ({ a: 1 }) })).toBe('{"a":1}');
    expect(encode({ toJSON: () => undefined })).toBe('null');
    expect(encode(Buffer.from('a'))).toBe('{"type":"Buffer","data":[97]}');
    class Point {
      x = 1;
      #hidden = 2;
      get sum() {
        return this.x + this.#hidden;
      }
    }
    expect(encode(new Point())).toBe('{"x":1}');
    expect(encode(Object.create(null, { a: { value: 1, enumerable: true } }))).toBe('{"a":1}');
  });

  it('passes the key to toJSON, once', () => {
    const keys: unknown[] = [];
    const spy = { toJSON: (key: unknown) => keys.push(key) };
    encode({ a: spy, b: [spy] });
    expect(keys.slice(0, 2)).toEqual(['a', '0']); // the walk; JSON.stringify then asks the same
  });

  it('keeps a field named __proto__ a field', () => {
    const value = JSON.parse('{"__proto__":{"polluted":true},"a":1}');
    expect(encode(value)).toBe('{"__proto__":{"polluted":true},"a":1}');
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(refusal(JSON.parse('{"__proto__":{"x":"\\u0000"}}')).path).toBe('data.__proto__.x');
  });

  it('takes the same object twice when it is no cycle', () => {
    const shared = { a: 1 };
    expect(encode([shared, shared, { shared }])).toBe('[{"a":1},{"a":1},{"shared":{"a":1}}]');
  });

  it.each<[unknown, string]>([
    ['a\0b', 'data'],
    ['\ud800', 'data'],
    [{ user: { name: 'a\0' } }, 'data.user.name'],
    [{ items: [0, 1, 2, { x: '\udc00' }] }, 'data.items[3].x'],
    [{ 'a\0': 1 }, 'data["a\\u0000"]'],
    [{ 'two words': 1n }, 'data["two words"]'],
    [{ list: [1, undefined] }, 'data.list[1]'],
    // biome-ignore lint/suspicious/noSparseArray: a hole is what is tested
    [[1, , 2], 'data[1]'],
    [[{ toJSON: () => undefined }], 'data[0]'],
    [{ f() {} }, 'data.f'],
    [Symbol('s'), 'data'],
    [() => 1, 'data'],
    [{ n: Number.NaN }, 'data.n'],
    [[Number.POSITIVE_INFINITY], 'data[0]'],
    [{ d: new Date(Number.NaN) }, 'data.d'],
    [{ m: new Map([[1, 2]]) }, 'data.m'],
    [new Set([1]), 'data'],
    [{ e: new Error('lost') }, 'data.e'],
    [{ r: /x/ }, 'data.r'],
    [{ p: Promise.resolve() }, 'data.p'],
    [{ b: new Uint8Array(2) }, 'data.b'],
    [{ n: Object(Number.NaN) }, 'data.n'],
    [{ w: new WeakMap() }, 'data.w'],
    [{ a: { toJSON: () => ({ b: 1n }) } }, 'data.a.b'],
    [{ a: { toJSON: () => new Map() } }, 'data.a'],
  ])('refuses %o at %s', (value, path) => {
    const error = refusal(value);
    expect(error.path).toBe(path);
    expect(error.message.startsWith(`${path} `)).toBe(true);
    expect(error.code).toBe('INVALID_PAYLOAD');
  });

  it('refuses cycles and says where they close', () => {
    const value: Record<string, unknown> = { a: { list: [{}] } };
    ((value['a'] as { list: object[] }).list[0] as Record<string, unknown>)['back'] = value;
    const error = refusal(value);
    expect(error.path).toBe('data.a.list[0].back');
    expect(error.message).toContain('refers back');
    expect(refusal({ big: 'x'.repeat(100_000), ...circular() }).message).toContain('refers back');
  });

  it('takes 500 levels and no more', () => {
    expect(JSON.parse(encode(nested(500)))).toEqual(nested(500));
    const error = refusal(nested(501));
    expect(error.message).toContain('500 levels');
    expect(error.path.length).toBeLessThan(400);
    expect(refusal(nested(100_000)).message).toContain('500 levels');
  });

  it('counts bytes, not characters', () => {
    expect(encode('ab', 4)).toBe('"ab"');
    expect(refusal('abc', 4).message).toContain('at least 5 bytes, maxPayloadBytes allows 4');
    expect(encode('üü', 6)).toBe('"üü"');
    expect(refusal('üüü', 6).message).toContain('8 bytes, maxPayloadBytes allows 6');
    expect(encode('😀', 6)).toBe('"😀"');
    expect(refusal('😀', 5).message).toContain('maxPayloadBytes');
    expect(encode({ a: [1, null, true] }, 19)).toBe('{"a":[1,null,true]}');
    expect(refusal({ a: [1, null, true] }, 18).path).toBe('data');
  });

  it('gives up early on a small graph that unfolds into a huge tree', () => {
    expect(refusal(explosive()).message).toContain('maxPayloadBytes');
  });

  it('says where a getter or toJSON threw', () => {
    expect(refusal({ a: [0, throwing] }).path).toBe('data.a[1].bad');
    expect(refusal({ a: { toJSON: throwError } }).path).toBe('data.a');
  });

  it('is not misled by what hostile objects do', () => {
    for (const value of hostile()) expect(refusal({ value }).path).toMatch(/^data\.value/);
  });

  it('comes back as it went in, or is a typed error', () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withSparseArray: true,
    });
    fc.assert(
      fc.property(fc.oneof(anything, fc.jsonValue(), fc.string({ unit: 'binary' })), (value) => {
        let text: string;
        try {
          text = encode(value);
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidPayloadError);
          expect((error as InvalidPayloadError).path.isWellFormed()).toBe(true);
          return;
        }
        expect(text).toBe(JSON.stringify(value) ?? 'null');
        expectStorable(text);
      }),
      { numRuns: 1000 },
    );
  });

  it('accepts whatever JSON can say', () => {
    const json = fc.jsonValue({
      stringUnit: fc.integer({ min: 1, max: 0xd7ff }).map((unit) => String.fromCharCode(unit)),
    });
    fc.assert(fc.property(json, (value) => void expect(encode(value)).toBe(JSON.stringify(value))));
  });
});
