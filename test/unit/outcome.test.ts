import { describe, expect, it } from 'vitest';
import { afterFailure } from '../../src/model/outcome.js';

const failure = { attemptsMade: 0, attempts: 3, discarded: false, backoffMs: 0 };

describe('afterFailure', () => {
  it('tries again while attempts are left', () => {
    expect(afterFailure(failure)).toEqual({ kind: 'retry', delayMs: 0 });
    expect(afterFailure({ ...failure, attemptsMade: 1, backoffMs: 500 })).toEqual({ kind: 'retry', delayMs: 500 });
  });

  it('ends with the last attempt', () => {
    expect(afterFailure({ ...failure, attemptsMade: 2 })).toEqual({ kind: 'failed' });
    expect(afterFailure({ ...failure, attempts: 1 })).toEqual({ kind: 'failed' });
    expect(afterFailure({ ...failure, attemptsMade: 9 })).toEqual({ kind: 'failed' });
  });

  it('ends when discarded', () => {
    expect(afterFailure({ ...failure, discarded: true, backoffMs: 500 })).toEqual({ kind: 'failed' });
  });

  it('never pauses for less than nothing', () => {
    expect(afterFailure({ ...failure, backoffMs: -5 })).toEqual({ kind: 'retry', delayMs: 0 });
  });
});
