import { describe, expect, it } from 'vitest';
import { JOB_STATES } from '../../src/model/job.js';
import { assertJobState, integerIn, oneOf, validateName, validateQueueName } from '../../src/model/options/names.js';

describe('names', () => {
  it.each(['a', 'emails', 'a b', 'ä/ö:ü', '邮件', '📮', 'x'.repeat(255), '📮'.repeat(255)])('%j is a name', (name) => {
    expect(validateQueueName(name)).toBe(name);
    expect(validateName(name, 'job name')).toBe(name);
  });

  it.each(['', 'x'.repeat(256), '📮'.repeat(256), 'a\0b', 'a\ud83d', '\udcee'])('%j is none', (name) => {
    expect(() => validateQueueName(name)).toThrow(RangeError);
    expect(() => validateName(name, 'opts.jobId')).toThrow(RangeError);
    expect(() => validateName(name, 'opts.jobId')).toThrow(/^opts\.jobId is "/);
  });

  it.each(['a\nb', '\t', 'a\u007f', '\u0085'])('a queue name has no control characters, another may: %j', (name) => {
    expect(() => validateQueueName(name)).toThrow(/control characters/);
    expect(validateName(name, 'job name')).toBe(name);
  });

  it('a queue name has none of the control characters, and the error says that the name is what is wrong', () => {
    for (const code of [...Array(0x20).keys(), 0x7f]) {
      const name = `a${String.fromCharCode(code)}b`;
      expect(() => validateQueueName(name), String(code)).toThrow(RangeError);
    }
    for (const name of ['', 'a\0', 'a\n', 'x'.repeat(256), undefined, 5]) {
      expect(() => validateQueueName(name)).toThrow(/^Invalid queue name: /);
    }
  });

  it.each([undefined, null, 5, {}, ['a'], Symbol('a'), 5n])('refuses what is not a string', (value) => {
    expect(() => validateQueueName(value)).toThrow(TypeError);
    expect(() => validateName(value, 'opts.group.id')).toThrow(/^opts\.group\.id is .*1 to 255 characters/);
  });

  it('shortens what it shows', () => {
    expect(() => validateName('y'.repeat(1e6), 'job name')).toThrow(/^.{1,300}$/);
  });
});

describe('integerIn', () => {
  it('returns the number', () => {
    expect(integerIn(1, 'n', 1, 3)).toBe(1);
    expect(integerIn(3, 'n', 1, 3)).toBe(3);
    expect(Object.is(integerIn(-0, 'n', 0, 3), 0)).toBe(true);
  });

  it.each([0, 4, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('refuses %d', (value) => {
    expect(() => integerIn(value, 'concurrency', 1, 3)).toThrow(RangeError);
    expect(() => integerIn(value, 'concurrency', 1, 3)).toThrow(
      `concurrency is ${value}; it must be a whole number from 1 to 3.`,
    );
  });

  it.each(['2', null, undefined, 2n, true])('refuses what is not a number: %s', (value) => {
    expect(() => integerIn(value, 'n', 1, 3)).toThrow(TypeError);
  });
});

describe('oneOf and assertJobState', () => {
  it('takes the words and no others', () => {
    expect(oneOf('a', 'option', ['a', 'b'])).toBe('a');
    expect(() => oneOf('c', 'option', ['a', 'b'])).toThrow(
      new RangeError(`option is "c"; it must be one of 'a', 'b'.`),
    );
    expect(() => oneOf(1, 'option', ['a', 'b'])).toThrow(TypeError);
  });

  it('knows the six states', () => {
    for (const state of JOB_STATES) expect(assertJobState(state)).toBe(state);
    for (const other of ['', 'Waiting', 'paused', 'toString']) expect(() => assertJobState(other)).toThrow(RangeError);
    expect(() => assertJobState(undefined)).toThrow(TypeError);
    expect(() => assertJobState('done')).toThrow(/^Invalid job state: .*"done".*'waiting-children'/);
  });
});
