import { describe, expect, test } from 'vitest';
import { isSecret, redactor, redactText, redactValue } from '../../src/dashboard/security/redact.js';

describe('keys', () => {
  test.each([
    ...['password', 'userPassword', 'PASSWORD', 'token', 'accessToken', 'refresh_token', 'secret', 'client-secret'],
    ...['authorization', 'apiKey', 'api_key', 'x-api-key', 'API_KEY', 'credentials', 'cookie', 'privateKey', 'pin'],
  ])('%s is hidden', (key) => expect(isSecret(key)).toBe(true));

  test.each(['author', 'name', 'id', 'key', 'keyboard', 'pinned', 'pass', 'email', 'shipping', 'opinion'])(
    '%s is shown',
    (key) => expect(isSecret(key)).toBe(false),
  );
});

test('values of secret keys are hidden at any depth, whatever they are', () => {
  const value = { a: [{ password: { deep: 1 } }, { ok: 'yes', token: 5 }], secret: null, apiKey: ['x'] };
  expect(redactValue(value)).toEqual({
    a: [{ password: '[redacted]' }, { ok: 'yes', token: '[redacted]' }],
    secret: null,
    apiKey: '[redacted]',
  });
});

test('a payload that nests without end is cut', () => {
  let value: unknown = 'bottom';
  for (let i = 0; i < 5_000; i++) value = [value];
  expect(JSON.stringify(redactValue(value))).toContain('[redacted]');
});

test('a key that means something to objects is a key like any other', () => {
  const value = JSON.parse('{"__proto__": {"password": "x"}, "constructor": 1}');
  expect(JSON.stringify(redactValue(value))).not.toContain('"x"');
});

describe('texts', () => {
  test.each([
    ['login with password=hunter2 failed', 'hunter2'],
    ['headers: {"Authorization":"Bearer abcdef123456"}', 'abcdef123456'],
    ["{ token: 'abc-123', id: 7 }", 'abc-123'],
    ['api_key: sk_live_1234', 'sk_live_1234'],
    ['connect postgres://app:pa55@db.internal:5432/app', 'pa55'],
    ['sent Basic dXNlcjpwYXNz', 'dXNlcjpwYXNz'],
    ['jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl end', 'c2lnbmF0dXJl'],
    ['GET /callback?access_token=tok123&state=1', 'tok123'],
  ])('%s', (text, secret) => {
    expect(redactText(text)).not.toContain(secret);
    expect(redactText(text)).toContain('[redacted]');
  });

  test.each(['charging 49.90 EUR', 'retry at 10:30:00', 'user: ann, id: 7', 'https://example.com/a?b=c'])(
    '%s stays as it is',
    (text) => expect(redactText(text)).toBe(text),
  );

  test('of any length take little time', () => {
    for (const unit of ['a', 'a.', 'eyJ', '"a":', 'http://', 'token=', 'a ', '=']) {
      const began = performance.now();
      redactText(unit.repeat(1_000_000));
      expect(performance.now() - began).toBeLessThan(500);
    }
  });
});

test("the app's own function gets what is left, and has the last word", () => {
  const job = { id: '1', name: 'n', queueName: 'q', data: { password: 'p', iban: 'DE', at: 1 }, opts: {} };
  const redact = redactor((shown) => ({ ...shown, data: { ...(shown.data as object), at: 'hidden' } }));
  expect(redact({ ...job, logs: ['token=1'], failedReason: 'secret=2' })).toMatchObject({
    data: { password: '[redacted]', iban: '[redacted]', at: 'hidden' },
    logs: ['token=[redacted]'],
    failedReason: 'secret=[redacted]',
  });
});
