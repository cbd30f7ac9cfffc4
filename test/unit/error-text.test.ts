import { inspect } from 'node:util';
import { DrizzleQueryError } from 'drizzle-orm';
import { describe, expect, it } from 'vitest';
import { safely } from '../../src/model/logger.js';
import { errorText } from '../../src/model/payload/error-text.js';
import { cleanText, encodeLenient } from '../../src/model/payload/values.js';
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

/** As postgres.js throws it; `SECRET` stands for personal data. */
const SECRET = 'ann@example.org';
const driverError = (fields: object = {}) =>
  Object.assign(new Error('duplicate key value violates unique constraint "users_email_key"'), {
    name: 'PostgresError',
    severity: 'ERROR',
    code: '23505',
    constraint_name: 'users_email_key',
    detail: `Key (email)=(${SECRET}) already exists.`,
    where: `unnamed portal parameter $1 = '${SECRET}'`,
    ...fields,
  });
const REASON = 'duplicate key value violates unique constraint "users_email_key" (23505, users_email_key)';
const failedQuery = (cause?: Error, params: unknown[] = [1, SECRET]) =>
  new DrizzleQueryError('insert into "users" values ($1, $2)', params, cause);

describe('of a query', () => {
  it.each<[string, () => unknown, string]>([
    ['the driver', () => driverError(), REASON],
    ['Drizzle', () => failedQuery(driverError()), REASON],
    ['Drizzle, twice', () => failedQuery(failedQuery(driverError())), REASON],
    ['an app', () => new Error('import failed', { cause: failedQuery(driverError()) }), `import failed: ${REASON}`],
    [
      'an app that repeats the message of the driver',
      () => new Error(`import failed: ${driverError().message}`, { cause: driverError() }),
      `import failed: ${REASON}`,
    ],
    [
      'an app that repeats the message of Drizzle',
      () => new Error(`import failed: ${failedQuery().message}`),
      'import failed: Failed query: insert into "users" values ($1, $2)',
    ],
    ['Drizzle, without a cause', () => failedQuery(), 'Failed query: insert into "users" values ($1, $2)'],
    [
      'a lost connection',
      () =>
        failedQuery(
          new AggregateError([new Error('connect ECONNREFUSED ::1'), new Error('connect ECONNREFUSED 127.0.0.1')]),
        ),
      'connect ECONNREFUSED ::1; connect ECONNREFUSED 127.0.0.1',
    ],
    ['Bun', () => driverError({ code: 'ERR_POSTGRES_SERVER_ERROR', errno: '23505' }), REASON],
    [
      'several',
      () => new AggregateError([failedQuery(driverError()), new Error('no')], 'none worked'),
      `none worked: ${REASON}; no`,
    ],
    [
      'a value that the server quotes',
      () =>
        failedQuery(
          driverError({
            message: `invalid input syntax for type integer: "${SECRET}"`,
            code: '22P02',
            constraint_name: undefined,
          }),
        ),
      'invalid input syntax for type integer: "…" (22P02)',
    ],
    [
      'a value that the server quotes in German, repeated by the app',
      () => {
        const cause = driverError({
          message: `ungültige Eingabesyntax: »${SECRET}«`,
          code: '22P02',
          constraint_name: '',
        });
        return new Error(`import failed: ${cause.message}`, { cause });
      },
      'import failed: ungültige Eingabesyntax: "…" (22P02)',
    ],
  ])('thrown by %s', (_by, thrown, reason) => {
    const error = thrown();
    const { message, stack } = errorText(error);
    expect(message).toBe(reason);
    expect(stack).toMatch(/\n {4}at .*error-text\.test/);
    const results = encodeLenient([error, { error }], 100_000).text;
    const logged: unknown[] = [];
    const log = (...args: unknown[]) => void logged.push(...args);
    safely({ debug: log, info: log, warn: log, error: log }).error('failed', error);
    for (const text of [message, stack, results, inspect(logged, { depth: 10 })]) expect(text).not.toContain(SECRET);
    expect(logged[1]).toBeInstanceOf(Error);
    expect(logged[1]).toMatchObject({ message: reason });
  });

  it('keeps the chain in the stack, with its codes', () => {
    const cause = failedQuery(driverError());
    const error = new TypeError('import failed', { cause });
    error.stack += `\nCaused by: ${cause.stack}`;
    const { stack } = errorText(error);
    expect(stack!.split('\n').filter((line) => !line.startsWith('    at '))).toEqual([
      'TypeError: import failed',
      'Caused by: Error: Failed query: insert into "users" values ($1, $2)',
      'Caused by: Error: Failed query: insert into "users" values ($1, $2)',
      `Caused by: PostgresError: ${REASON}`,
    ]);
    expect(stack).not.toContain(SECRET);
  });

  it('cuts parameters that look like stack frames, and long ones', () => {
    const params = [`x\n    at ${SECRET} (a.js:1:1)\n`, `${SECRET}\n`.repeat(100_000)];
    const { message, stack } = errorText(new Error('import failed', { cause: failedQuery(undefined, params) }));
    expect(message).toBe('import failed: Failed query: insert into "users" values ($1, $2)');
    expect(stack).not.toContain(SECRET);
    expect(stack).toMatch(/\n {4}at .*error-text\.test/);
  });
});

describe('of an app', () => {
  it('is followed by its causes', () => {
    const cause = new Error('connect ECONNREFUSED 127.0.0.1:80', { cause: 'a text' });
    const { message, stack } = errorText(new TypeError('fetch failed', { cause }));
    expect(message).toBe('fetch failed: connect ECONNREFUSED 127.0.0.1:80: a text');
    expect(stack).toContain(`\nCaused by: ${cause.stack}`);
    expect(errorText(new Error('bad input', { cause: { email: SECRET } })).message).toBe('bad input');
    expect(errorText(Object.assign(new Error('no pipe'), { code: 'EPIPE' })).message).toBe('no pipe');
    const suppressed = {
      name: 'SuppressedError',
      message: 'while closing',
      error: new Error('b'),
      suppressed: new Error('a'),
    };
    expect(errorText(suppressed).message).toBe('while closing: b; a');
  });

  it('ends with a cycle, and with the twentieth', () => {
    const [first, second] = [new Error('first'), new Error('second')];
    first.cause = second;
    second.cause = first;
    expect(errorText(first).message).toBe('first: second');
    let deep: Error = driverError();
    for (let i = 0; i < 19; i++) deep = new Error(`level ${i} ${'x'.repeat(100_000)}`, { cause: deep });
    const { message, stack } = errorText(deep);
    expect(message).toContain('(23505, users_email_key)');
    expect(stack).toContain('(23505, users_email_key)');
    expect(message.length).toBeLessThanOrEqual(10_000);
    expect(stack!.length).toBeLessThanOrEqual(20_000);
    for (let i = 0; i < 100_000; i++) deep = new Error('deeper', { cause: deep });
    expect(errorText(deep).message).toBe('deeper');
  });

  it('outlives causes that cannot be read', () => {
    for (const value of hostile()) {
      expect(errorText(new Error('outer', { cause: value })).message).toBe('outer');
      expect(errorText(Object.assign(new Error('outer'), { errors: value })).message).toBe('outer');
    }
    const error = Object.defineProperty(new Error('outer'), 'cause', { get: throwError });
    expect(errorText(error)).toEqual({ message: 'outer', stack: error.stack });
  });
});
