import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

/** Imports run to the left only, types included: who opens a folder need not know those behind it. */
const LAYERS = ['model', 'schema', 'db', 'migrations', 'store', 'core', 'index.ts'];

const src = fileURLToPath(new URL('../../src', import.meta.url));

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
const layerOf = (file: string) => file.split(/[\\/]/)[0] as string;

/** Every module that a file names, in whichever way. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) =>
    relative(src, resolve(dirname(join(src, file)), match[1] as string)).replace(/\.js$/, '.ts'),
  );
}

it('knows every layer', () => {
  expect(new Set(files.map(layerOf))).toEqual(new Set(LAYERS));
});

it('every import names a file', () => {
  for (const file of files) for (const target of importsOf(file)) expect(files, `${file}: ${target}`).toContain(target);
});

it('imports run to the left only', () => {
  const backwards = files.flatMap((file) =>
    importsOf(file)
      .filter((target) => LAYERS.indexOf(layerOf(target)) > LAYERS.indexOf(layerOf(file)))
      .map((target) => `${file} -> ${target}`),
  );
  expect(backwards).toEqual([]);
});

it('no file imports itself by way of others of another folder', () => {
  // With the direction given this can only fail if a layer is missing from the list; it says so by name.
  const edges = new Map<string, Set<string>>();
  for (const file of files) {
    for (const target of importsOf(file)) {
      const [from, to] = [layerOf(file), layerOf(target)];
      if (from !== to) edges.set(from, (edges.get(from) ?? new Set()).add(to));
    }
  }
  const visit = (layer: string, path: string[]): string[] =>
    path.includes(layer)
      ? [[...path, layer].join(' -> ')]
      : [...(edges.get(layer) ?? [])].flatMap((next) => visit(next, [...path, layer]));
  expect(LAYERS.flatMap((layer) => visit(layer, []))).toEqual([]);
});

it('only db and migrations know the driver', () => {
  const drivers = files.filter((file) => /from 'postgres'/.test(readFileSync(join(src, file), 'utf8'))).map(layerOf);
  expect(['db', 'migrations']).toEqual(expect.arrayContaining([...new Set(drivers)]));
});
