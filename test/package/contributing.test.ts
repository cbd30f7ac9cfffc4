/** CONTRIBUTING.md names files and scripts that there are. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const text = readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8');
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };

test('every path in it exists', () => {
  const paths = [...text.matchAll(/\b(?:src|test|bench|drizzle|scripts)\/[\w./-]*|\.ci\/\w+/g)].map(([path]) => path);
  expect(paths.length).toBeGreaterThan(15);
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test('every script in it exists', () => {
  const names = [...text.matchAll(/npm run (\w+)/g)].map(([, name]) => name as string);
  expect(names).toEqual(expect.arrayContaining(['sql', 'explain', 'generate', 'build', 'check']));
  expect(names.filter((name) => !(name in scripts))).toEqual([]);
});
