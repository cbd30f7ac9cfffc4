import { parseArgs } from 'node:util';
import { CONTENDERS } from '../contenders/index.js';

export interface Options {
  readonly rounds: number;
  /** Names of scenarios or curves. */
  readonly names: readonly string[];
  readonly contenders: readonly string[];
  readonly quick: boolean;
  /** Abscissas of the curves; undefined: each curve's own. */
  readonly at: readonly number[] | undefined;
  readonly build: boolean;
  /** Whether the results are written to files. */
  readonly save: boolean;
  readonly timeoutSeconds: number;
}

/**
 * Reads the command line. `all` are the names that `--scenarios` chooses from, `quickly` those of a quick run. A run
 * of everything is saved, a part of it only with `--save`.
 */
export function readOptions(flag: 'scenarios' | 'curves', all: readonly string[], quickly: readonly string[]): Options {
  const parsed = parseArgs({
    options: {
      rounds: { type: 'string' },
      [flag]: { type: 'string' },
      contenders: { type: 'string' },
      ...(flag === 'curves' && { at: { type: 'string' } }),
      quick: { type: 'boolean' },
      save: { type: 'boolean' },
      'no-build': { type: 'boolean' },
      timeout: { type: 'string' },
    },
  });
  const values = parsed.values as Partial<Record<string, string | boolean>>;
  const text = (name: string) => values[name] as string | undefined;
  const quick = values['quick'] === true;
  const whole = !quick && ![flag, 'contenders', 'at'].some((name) => name in values);
  return {
    rounds: positive('rounds', text('rounds') ?? (quick || flag === 'curves' ? '1' : '3')),
    names: chosen(flag, text(flag), all, quick ? quickly : all),
    contenders: chosen('contenders', text('contenders'), Object.keys(CONTENDERS)),
    quick,
    at: text('at')
      ?.split(',')
      .map((each) => positive('at', each)),
    build: values['no-build'] !== true,
    save: whole || values['save'] === true,
    timeoutSeconds: positive('timeout', text('timeout') ?? '600'),
  };
}

function positive(flag: string, value: string): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1) throw new RangeError(`--${flag} ${value}: a positive integer`);
  return number;
}

function chosen(flag: string, value: string | undefined, all: readonly string[], otherwise = all): readonly string[] {
  if (value === undefined) return otherwise;
  const names = value.split(',');
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new RangeError(`--${flag} ${unknown.join(',')}: choose of ${all.join(', ')}`);
  return names;
}
