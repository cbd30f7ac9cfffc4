import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Scenario } from './scenario.js';

const TIMES = 15;
const root = fileURLToPath(new URL('../../', import.meta.url));
const ENTRY = join(root, 'dist/index.js');

/** Loads the built package in fresh processes, and in others only what it loads of drizzle-orm and postgres. */
export const importing: Scenario = {
  what: 'loading the package: all of it, and without drizzle-orm and postgres',
  figure: 'ownMs',
  unit: 'ms',
  needs: ['queue'],
  only: ['conveyor'],
  async run() {
    const peers = [...new Set(importsOf(ENTRY))].filter((name) => /^(drizzle-orm|postgres)(\/|$)/.test(name));
    if (peers.length === 0) throw new Error('the built package imports neither drizzle-orm nor postgres');
    const totals: number[] = [];
    const others: number[] = [];
    for (let i = 0; i < TIMES; i++) {
      totals.push(load(['./dist/index.js']));
      others.push(load(peers));
    }
    const totalMs = median(totals);
    return { totalMs, ownMs: totalMs - median(others) };
  },
};

/** The names that a module and those of the package that it loads import of other packages. */
function importsOf(file: string, seen = new Set<string>()): string[] {
  if (seen.has(file)) return [];
  seen.add(file);
  const names = [...readFileSync(file, 'utf8').matchAll(/^(?:import|export)\b[^;]*?"([^"]+)";$/gm)];
  return names.flatMap(([, name = '']) => (name.startsWith('.') ? importsOf(join(dirname(file), name), seen) : [name]));
}

function load(names: readonly string[]): number {
  const code = `const begin = performance.now();
    await Promise.all(${JSON.stringify(names)}.map((name) => import(name)));
    console.log(performance.now() - begin);`;
  const out = execFileSync(process.execPath, ['--input-type=module', '--eval', code], { cwd: root, encoding: 'utf8' });
  return Number(out);
}

const median = (numbers: readonly number[]) =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] as number;
