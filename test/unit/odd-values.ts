import { expect } from 'vitest';

/** Values that break naive serializers. */

export function throwError(): never {
  throw new Error('thrown by the value');
}

/** Not for test titles: vitest reads the fields to print them. */
export const throwing = {
  get bad() {
    return throwError();
  },
  good: 1,
};

export function nested(levels: number): unknown {
  let value: unknown[] = [];
  for (let i = 1; i < levels; i++) value = [value];
  return value;
}

export function circular(): Record<string, unknown> {
  const value: Record<string, unknown> = {};
  value['self'] = value;
  value['list'] = [value];
  return value;
}

/** 60 small objects whose JSON would have 2^60 parts. */
export function explosive(): unknown {
  let value: unknown = [1];
  for (let i = 0; i < 60; i++) value = { a: value, b: value };
  return value;
}

export function hostile(): object[] {
  const everyTrap = {
    get: throwError,
    has: throwError,
    ownKeys: throwError,
    getPrototypeOf: throwError,
    getOwnPropertyDescriptor: throwError,
  };
  const { proxy: revoked, revoke } = Proxy.revocable({}, {});
  revoke();
  return [new Proxy({}, everyTrap), new Proxy([], everyTrap), new Proxy({}, { get: throwError }), revoked];
}

/** What jsonb accepts: JSON without U+0000 and lone surrogates, escaped or not. */
export function expectStorable(text: string): void {
  expect(text.isWellFormed()).toBe(true);
  JSON.parse(text, (key, value) => {
    for (const part of [key, value]) {
      if (typeof part === 'string' && (!part.isWellFormed() || part.includes('\0'))) throw new Error('not storable');
    }
    return value;
  });
}
