import { describe, expectTypeOf, it } from 'vitest';
import type { Jsonify } from '../../src/index.js';

// Nothing here runs: tsc checks it (vitest only finds the file).
interface User {
  id: number;
  name: string;
  tags: string[];
  nick?: string;
}
interface Tree {
  value: number;
  children: Tree[];
}
interface Diary {
  at: Date;
  children: Diary[];
  parent?: Diary;
  pair: [Diary, User];
}
type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
type Id = string & { readonly __brand: 'id' };
type Both = { a: 1 } & { b: 2 };
type Level = 'low' | `high-${number}`;
class Money {
  readonly #cents = 1;
  toJSON() {
    return { cents: this.#cents, at: new Date() };
  }
}
class Point {
  readonly x: number = 1;
  plus() {
    return new Point();
  }
}
interface Itself {
  at: Date;
  toJSON(): Itself;
}

/** Stricter than `toEqualTypeOf`: also tells optional from undefined, and a type from an equal one. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>): void => {};

describe('Jsonify', () => {
  it('leaves alone what JSON does not change', () => {
    same<Jsonify<User>, User>(true);
    same<Jsonify<Tree>, Tree>(true);
    same<Jsonify<Json>, Json>(true);
    same<Jsonify<Both>, Both>(true);
    same<Jsonify<boolean>, boolean>(true);
    same<Jsonify<null>, null>(true);
    same<Jsonify<unknown>, unknown>(true);
    // biome-ignore lint/suspicious/noExplicitAny: what if
    same<Jsonify<any>, any>(true);
    same<Jsonify<never>, never>(true);
    same<Jsonify<object>, object>(true);
    same<Jsonify<Record<string, number | undefined>>, Record<string, number | undefined>>(true);
    same<Jsonify<[a: string, b?: number]>, [a: string, b?: number]>(true);
    same<Jsonify<{ id: Id; level: Level }>, { id: Id; level: Level }>(true);
    same<Jsonify<{ name: string; message: string }>, { name: string; message: string }>(true);
  });

  it('makes of a Date and of what has a toJSON what JSON makes of them', () => {
    same<Jsonify<Date>, string>(true);
    same<Jsonify<{ at: Date; user: User }>, { at: string; user: User }>(true);
    same<Jsonify<{ readonly at?: Date }>, { readonly at?: string }>(true);
    same<Jsonify<{ at: Date | null }>, { at: string | null }>(true);
    same<Jsonify<Money>, { cents: number; at: string }>(true);
    same<Jsonify<Itself>, { at: string }>(true);
    same<Jsonify<{ link: URL; bytes: Buffer }>, { link: string; bytes: { type: 'Buffer'; data: number[] } }>(true);
  });

  it('reaches into arrays, tuples, records, unions and intersections', () => {
    same<Jsonify<Date[]>, string[]>(true);
    same<Jsonify<readonly Date[]>, readonly string[]>(true);
    same<Jsonify<[Date, number, ...Date[]]>, [string, number, ...string[]]>(true);
    same<Jsonify<[a: string, b?: Date]>, [a: string, b?: string]>(true);
    same<Jsonify<Record<string, Date>>, Record<string, string>>(true);
    same<Jsonify<{ kind: 'a'; at: Date } | User>, { kind: 'a'; at: string } | User>(true);
    same<Jsonify<{ x: Both; at: Date }>, { x: Both; at: string }>(true);
    same<Jsonify<{ json: Json; any: unknown; at: Date }>, { json: Json; any: unknown; at: string }>(true);
    same<Jsonify<Diary>['children'][0]['children'][0]['at'], string>(true);
    same<Jsonify<Diary>['pair'][1], User>(true);
  });

  it('leaves out functions and symbols, and makes what may be undefined optional', () => {
    same<Jsonify<{ a: 1; f(): void; s: symbol; u: undefined }>, { a: 1 }>(true);
    same<Jsonify<{ a: string | undefined }>, { a?: string }>(true);
    same<Jsonify<{ at: Date | undefined }>, { at?: string }>(true);
    same<Jsonify<{ f: string | (() => void) }>, { f?: string }>(true);
    same<Jsonify<{ [key: symbol]: 1; at: Date }>, { at: string }>(true);
    same<Jsonify<Point>, { readonly x: number }>(true);
    same<Jsonify<undefined>, null>(true);
    same<Jsonify<(string | undefined)[]>, (string | null)[]>(true);
  });

  it('is never for what cannot be stored', () => {
    same<Jsonify<bigint>, never>(true);
    same<
      Jsonify<{ n: bigint; m: Map<string, Date>; s: Set<1>; a: Uint8Array }>,
      { n: never; m: never; s: never; a: never }
    >(true);
  });

  it('can be used in generic code', () => {
    function read<T>(value: Jsonify<T>): Jsonify<T> {
      return value;
    }
    expectTypeOf(read<User>({ id: 1, name: 'Ada', tags: [] })).toEqualTypeOf<User>();
  });
});
