import { expect, it } from 'vitest';
import { copyOf } from '../../src/model/payload/copy.js';

it.each([
  ['null', null],
  ['text', 'text'],
  ['a number', 5],
  ['lists', [1, [2, { a: [] }]]],
  ['objects', { a: { b: null }, c: undefined, '': 0 }],
  ['dates', { at: new Date(5), all: [new Date(Number.NaN)] }],
  ['an object without a prototype', Object.assign(Object.create(null), { a: [1] })],
])('%s: equal, and nothing of it shared', (_name, value) => {
  const shared: unknown[] = [];
  const compare = (a: unknown, b: unknown): void => {
    if (a === null || typeof a !== 'object') return;
    if (a === b) shared.push(a);
    for (const key of Object.keys(a)) compare(a[key as never], (b as object)[key as never]);
  };
  const copied = copyOf(value);
  expect(copied).toEqual(value);
  compare(value, copied);
  expect(shared).toEqual([]);
});

it('a field named __proto__ is a field like any other', () => {
  const copied = copyOf(JSON.parse('{"__proto__":{"admin":true}}'));
  expect(Object.keys(copied)).toEqual(['__proto__']);
  expect(copied.admin).toBeUndefined();
});

it('what is of a class stays what it is', () => {
  class Money {
    readonly cents = 5;
  }
  const money = new Money();
  const map = new Map([[1, 2]]);
  const copied = copyOf({ money, map });
  expect(copied.money).toBe(money);
  expect(copied.map).toBe(map);
});
