import { describe, expect, it, vi } from 'vitest';
import { takesSignal } from '../../src/core/worker/takes-signal.js';

type Processor = (...args: never[]) => unknown;

describe('a handler', () => {
  const without: [string, Processor][] = [
    ['without a parameter', async () => {}],
    ['with the job alone', (job: unknown) => job],
    ['with fields of the job', async ({ data, name: title }: { data: unknown; name: string }) => [data, title]],
  ];
  it.each(without)('%s cannot see the signal', (_name, processor) => {
    expect(takesSignal(processor)).toBe(false);
  });

  const seeing: [string, Processor][] = [
    ['that takes it', (_job: unknown, _signal: AbortSignal) => {}],
    ['with a rest parameter', (...args: unknown[]) => args],
    ['with a default for it', (_job: unknown, signal: unknown = null) => signal],
    ['with a default in a pattern', ({ data = 1 }: { data?: number }, signal = null) => [data, signal]],
    [
      'that is a function with arguments',
      function handler() {
        // biome-ignore lint/complexity/noArguments: this is what a handler may do
        return arguments.length;
      },
    ],
    ['that is bound', ((...args: unknown[]) => args).bind(null)],
    ['that is a mock', vi.fn()],
    ['that is a method', { handle: (...args: unknown[]) => args }.handle],
    ['behind a proxy', new Proxy((job: unknown) => job, {})],
  ];
  it.each(seeing)('%s may see the signal', (_name, processor) => {
    expect(takesSignal(processor)).toBe(true);
  });
});
