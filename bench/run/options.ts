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
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string' },
      [flag]: { type: 'string' },
      contenders: { type: 'string' },
      ...(flag === 'curves' && { at: { type: 'string' } }),
      quick: { type: 'boolean', default: false },
      save: { type: 'boolean', default: false },
      'no-build': { type: 'boolean', default: false },
      timeout: { type: 'string', default: '600' },
    },
  });
  const quick = values.quick === true;
  const asked = values[flag] as string | undefined;
  const whole = !quick && [asked, values['contenders'], values['at']].every((each) => each === undefined);
  const rounds = Number(values.rounds ?? (quick || flag === 'curves' ? 1 : 3));
  if (!Number.isInteger(rounds) || rounds < 1) throw new RangeError(`--rounds ${values.rounds}: a positive integer`);
  return {
    rounds,
    names: chosen(flag, asked, all, quick ? quickly : all),
    contenders: chosen('contenders', values.contenders as string | undefined, Object.keys(CONTENDERS)),
    quick,
    at: numbers(values['at'] as string | undefined),
    build: values['no-build'] !== true,
    save: whole || values.save === true,
    timeoutSeconds: Number(values.timeout),
  };
}

function numbers(value: string | undefined): readonly number[] | undefined {
  const list = value?.split(',').map(Number);
  if (list?.some((each) => !Number.isInteger(each) || each < 1)) throw new RangeError(`--at ${value}: positive integers`);
  return list;
}

function chosen(flag: string, value: string | undefined, all: readonly string[], otherwise = all): readonly string[] {
  if (value === undefined) return otherwise;
  const names = value.split(',');
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new RangeError(`--${flag} ${unknown.join(',')}: choose of ${all.join(', ')}`);
  return names;
}
