import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

/** Imports run to the left only, types included: whoever opens a folder need not know those to its right. */
const LAYERS = ['model', 'schema', 'db', 'migrations', 'store', 'core', 'dashboard', 'index.ts'];

/** The same inside a layer. Rooms of one group do not know each other's order. */
const ROOMS: Record<string, string[][]> = {
  store: [
    ['rows'],
    ['rules'],
    ['add', 'settle'],
    ['lease', 'claim', 'read'],
    ['remove'],
    ['change'],
    ['metrics'],
    ['events'],
    ['runtime'],
    ['schedules'],
    ['contract'],
  ],
  dashboard: [
    ['assets', 'security', 'queries'],
    ['components'],
    ['live', 'verbs', 'client'],
    ['pages'],
    ['routes'],
    ['handler'],
    ['index.ts'],
  ],
  core: [['event-bus.ts'], ['job'], ['queue'], ['worker'], ['define.ts'], ['close-on-signals.ts'], ['index.ts']],
};

const src = fileURLToPath(new URL('../../src', import.meta.url));

const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.tsx?$/.test(file))
  .map((file) => file.replaceAll(sep, '/'));
const layerOf = (file: string) => file.split('/')[0] as string;
const roomOf = (file: string) => file.split('/')[1] as string;

/** Every module that a file names, in whichever way. */
const imports = new Map(
  files.map((file) => {
    const text = readFileSync(join(src, file), 'utf8');
    const targets = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)]
      .map((match) =>
        relative(src, resolve(dirname(join(src, file)), match[1] as string))
          .replaceAll(sep, '/')
          .replace(/\.js$/, '.ts'),
      )
      // A component is a .tsx file; who imports it says .js all the same.
      .map((target) => (existsSync(join(src, target)) ? target : `${target}x`));
    return [file, targets] as const;
  }),
);
const edges = [...imports].flatMap(([file, targets]) => targets.map((target) => [file, target] as const));

it('knows every layer, and every room of a layer that has an order', () => {
  expect(new Set(files.map(layerOf))).toEqual(new Set(LAYERS));
  for (const [layer, rooms] of Object.entries(ROOMS)) {
    expect(new Set(files.filter((file) => layerOf(file) === layer).map(roomOf))).toEqual(new Set(rooms.flat()));
  }
});

it('every import names a file', () => {
  for (const [file, target] of edges) expect(files, `${file}: ${target}`).toContain(target);
});

it('imports run to the left only', () => {
  const backwards = edges
    .filter(([file, target]) => LAYERS.indexOf(layerOf(target)) > LAYERS.indexOf(layerOf(file)))
    .map(([file, target]) => `${file} -> ${target}`);
  expect(backwards).toEqual([]);
});

it.each(Object.entries(ROOMS))('inside %s too', (layer, groups) => {
  const placeOf = (file: string) => groups.findIndex((rooms) => rooms.includes(roomOf(file)));
  const backwards = edges
    .filter(([file, target]) => layerOf(file) === layer && layerOf(target) === layer)
    .filter(([file, target]) => placeOf(target) > placeOf(file))
    .map(([file, target]) => `${file} -> ${target}`);
  expect(backwards).toEqual([]);
});

it('no file imports itself by way of others', () => {
  const cycles: string[] = [];
  const finished = new Set<string>();
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
    else if (!finished.has(file)) for (const target of imports.get(file) ?? []) visit(target, [...path, file]);
    finished.add(file);
  };
  for (const file of files) visit(file, []);
  expect(cycles).toEqual([]);
});

it('nothing but the dashboard needs what only it needs', () => {
  const needs = files.filter((file) => /from '(?:hono|uplot)[/']/.test(readFileSync(join(src, file), 'utf8')));
  expect(new Set(needs.map(layerOf))).toEqual(new Set(['dashboard']));
});

it('only db and migrations know the driver', () => {
  const drivers = files.filter((file) => /from 'postgres'/.test(readFileSync(join(src, file), 'utf8'))).map(layerOf);
  expect(['db', 'migrations']).toEqual(expect.arrayContaining([...new Set(drivers)]));
});
