import { afterEach, expect, it, vi } from 'vitest';
import { consoleLogger, defaultLogger, type Logger, noopLogger } from '../../src/model/logger.js';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

afterEach(() => vi.restoreAllMocks());

function heard(logger: Logger): string[] {
  const spies = LEVELS.map((level) => vi.spyOn(console, level).mockImplementation(() => {}));
  for (const level of LEVELS) logger[level]('message', level);
  return LEVELS.filter((level, i) => spies[i]!.mock.calls.some((call) => call[0] === 'message' && call[1] === level));
}

it('noopLogger says nothing', () => expect(heard(noopLogger)).toEqual([]));
it('consoleLogger says everything', () => expect(heard(consoleLogger)).toEqual([...LEVELS]));
it('defaultLogger says what is wrong', () => expect(heard(defaultLogger)).toEqual(['warn', 'error']));
