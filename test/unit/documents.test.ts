/** The documents name files, headings and scripts that exist. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { anchorsOf, linksOf } from '../support/markdown.js';

const root = resolve(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const markdownIn = (folder: string, recursive = true) =>
  readdirSync(join(root, folder), { recursive, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md') && !path.includes('node_modules'))
    .map((path) => join(folder, path));
const documents = [...markdownIn('.', false), ...['docs', 'examples', 'bench'].flatMap((folder) => markdownIn(folder))];

test('there are documents to check', () => {
  const expected = [
    'README.md',
    'ARCHITECTURE.md',
    'CONTRIBUTING.md',
    'docs/drizzle.md',
    'examples/drizzle-app/README.md',
  ];
  expect(documents).toEqual(expect.arrayContaining(expected));
});

test.each(documents)('the links of %s lead somewhere', (document) => {
  for (const link of linksOf(read(document))) {
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? document : join(dirname(document), path);
    expect(existsSync(join(root, target)), link).toBe(true);
    if (anchor !== undefined) expect(anchorsOf(read(target)), link).toContain(anchor);
  }
});

/** Paths from the root, and from src/ where they begin with the name of a layer. */
const PATH =
  /(?<![\w./-])(?:(?:src|test|bench|scripts|drizzle|examples|(model|schema|db|migrations|store|core|dashboard))\/[\w./-]*|\.ci\/\w+)/g;

test.each(['ARCHITECTURE.md', 'CONTRIBUTING.md'])('every path in %s exists', (document) => {
  const paths = [...read(document).matchAll(PATH)].map(([path, layer]) => (layer ? `src/${path}` : path));
  expect(paths.length).toBeGreaterThan(15);
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test('ARCHITECTURE.md names what is in the files that it sends its readers to', () => {
  const places = [...read('ARCHITECTURE.md').matchAll(/`(\w+)(?:\(\))?` in `([\w/-]+\.ts)`/g)];
  expect(places.length).toBeGreaterThan(3);
  for (const [place, name, file] of places) expect(read(`src/${file}`), place).toMatch(new RegExp(`\\b${name}\\b`));
});

test.each(['store', 'core', 'dashboard'])('ARCHITECTURE.md lists every room of %s', (layer) => {
  const rooms = readdirSync(join(root, 'src', layer)).filter((name) =>
    statSync(join(root, 'src', layer, name)).isDirectory(),
  );
  const listed = [...read('ARCHITECTURE.md').matchAll(/^\| `(\w+)\/(\w+)` \|/gm)].filter(([, name]) => name === layer);
  expect(listed.map(([, , room]) => room).sort()).toEqual(rooms.sort());
});

test('every script in CONTRIBUTING.md exists', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const names = [...read('CONTRIBUTING.md').matchAll(/npm run (\w+)/g)].map(([, name]) => name as string);
  expect(names).toEqual(expect.arrayContaining(['sql', 'explain', 'generate', 'build', 'check']));
  expect(names.filter((name) => !(name in scripts))).toEqual([]);
});
