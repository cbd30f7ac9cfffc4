import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Scenario } from './scenario.js';

const TIMES = 15;
const root = fileURLToPath(new URL('../../', import.meta.url));

/** Loads the built package in fresh processes, and in others only what it loads of drizzle-orm and postgres. */
export const importing: Scenario = {
  what: 'loading the package: all of it, and without drizzle-orm and postgres',
  figure: 'ownMs',
  unit: 'ms',
  needs: ['queue'],
  only: ['conveyor'],
  async run() {
    const peers = [...new Set(modules().flatMap(peersOf))];
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

function modules(): string[] {
  const files = readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' });
  return files.filter((file) => file.endsWith('.js')).map((file) => readFileSync(join(root, 'dist', file), 'utf8'));
}

const peersOf = (code: string) =>
  [...code.matchAll(/from\s*"((?:drizzle-orm|postgres)(?:\/[^"]*)?)"/g)].map(([, name]) => name as string);

function load(names: readonly string[]): number {
  const code = `const begin = performance.now();
    await Promise.all(${JSON.stringify(names)}.map((name) => import(name)));
    console.log(performance.now() - begin);`;
  const out = execFileSync(process.execPath, ['--input-type=module', '--eval', code], { cwd: root, encoding: 'utf8' });
  return Number(out);
}

const median = (numbers: readonly number[]) =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] as number;
