/** The tarball, as npm would publish it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';
import { describe, expect, inject, test } from 'vitest';
import { MIGRATIONS } from '../../src/migrations/generated.js';
import { useDatabase } from '../support/database.js';
import { anchorsOf, linksOf } from '../support/markdown.js';
import { MAJORS, packedFiles, run, scratchApp, tarball } from '../support/scratch.js';

const root = resolve(import.meta.dirname, '../..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, string | { types: string; default: string }>;
};
const doors = Object.keys(manifest.exports).filter((door) => door !== './package.json');
const bin = (name: string) => join(root, 'node_modules/.bin', name);
/** What an app of this major can load: each has relations of its own. */
const doorsOf = (major: string) =>
  doors
    .filter((door) => door !== (major === '0.x' ? './relations-v2' : './relations'))
    .map((door) => door.replace('.', '@conveyor/store-pg'));

/**
 * Measured in bytes: 809,000 of code in dist/**\/*.js, of which the dashboard is 208,000, which nobody else loads;
 * 875,000 for the packed tarball, most of it the sources, the source maps and the pictures of the documents.
 */
const MAX_CODE_BYTES = 850 * 1024;
const MAX_TARBALL_BYTES = 950 * 1024;
const PATIENCE = { timeout: 240_000 };

describe('the tarball', PATIENCE, () => {
  test('holds what its doors name, the sources and the documents, and nothing else', async () => {
    const paths = (await packedFiles()).map(({ path }) => path);
    for (const door of Object.values(manifest.exports)) {
      for (const file of typeof door === 'string' ? [door] : [door.types, door.default]) {
        expect(paths).toContain(file.replace('./', ''));
      }
    }
    const documents = ['README', 'ARCHITECTURE', 'CHANGELOG', 'CONTRIBUTING'].map((name) => `${name}.md`);
    expect(paths).toEqual(expect.arrayContaining([...documents, 'LICENSE', 'package.json']));
    const folders =
      /^(src\/.*\.(tsx?|css)|dist\/.*\.(js|d\.ts)(\.map)?|docs\/.*\.(md|png)|examples\/.*|drizzle\/[^/]*\.sql)$/;
    const others = paths.filter((path) => !folders.test(path) && !documents.includes(path));
    expect(others.sort()).toEqual(['LICENSE', 'package.json']);
    expect(paths.filter((path) => /node_modules|^examples\/.*\/dist\//.test(path))).toEqual([]);
    expect(paths.filter((path) => path.startsWith('drizzle/'))).toHaveLength(MIGRATIONS.length);
  });

  test('loads as a few modules: one per source file takes several times as long', async () => {
    const modules = (await packedFiles()).filter(({ path }) => /^dist\/.*\.js$/.test(path));
    expect(modules.length).toBeLessThan(30);
  });

  test('has maps that lead to the sources in it, of code and of declarations', async () => {
    const folder = dirname(await tarball());
    const paths = (await packedFiles()).map(({ path }) => path);
    for (const path of paths.filter((name) => /^dist\/.*\.(js|d\.ts)$/.test(name))) {
      expect(readFileSync(join(folder, path), 'utf8'), path).toContain(`//# sourceMappingURL=${basename(path)}.map`);
      const { sources } = JSON.parse(readFileSync(join(folder, `${path}.map`), 'utf8')) as { sources: string[] };
      for (const source of sources) expect(paths, path).toContain(join(dirname(path), source));
    }
  });

  test('has no dead link in its documents', async () => {
    const folder = dirname(await tarball());
    const paths = (await packedFiles()).map(({ path }) => path);
    const dead: string[] = [];
    for (const document of paths.filter((path) => path.endsWith('.md'))) {
      for (const link of linksOf(readFileSync(join(folder, document), 'utf8'))) {
        const [file = '', anchor] = link.split('#');
        const target = file === '' ? document : join(dirname(document), file);
        const there = paths.some((path) => path === target || path.startsWith(`${target.replace(/\/$/, '')}/`));
        const anchored = there && (!anchor || anchorsOf(readFileSync(join(folder, target), 'utf8')).includes(anchor));
        if (!anchored) dead.push(`${document}: ${link}`);
      }
    }
    expect(dead).toEqual([]);
  });

  test('is small', async () => {
    const code = (await packedFiles()).filter(({ path }) => /^dist\/.*\.js$/.test(path));
    expect(code.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(MAX_CODE_BYTES);
    expect(statSync(await tarball()).size).toBeLessThanOrEqual(MAX_TARBALL_BYTES);
  });

  test('has declarations that fit every major of drizzle-orm: none of them names its types', async () => {
    const folder = join(dirname(await tarball()), 'dist');
    for (const { path } of await packedFiles()) {
      if (!path.endsWith('.d.ts')) continue;
      expect(readFileSync(join(folder, '..', path), 'utf8'), path).not.toMatch(/from ['"]drizzle-orm/);
    }
  });

  test('pleases publint', async () => {
    const { stdout } = await run(bin('publint'), ['run', await tarball(), '--strict'], { cwd: root });
    expect(stdout).toContain('All good!');
  });

  test('pleases arethetypeswrong', async () => {
    // ESM only: CommonJS loads it by require() of an ES module, which Node 20.19 and later do.
    const args = [await tarball(), '--profile', 'esm-only', '--format', 'json'];
    const { stdout } = await run(bin('attw'), args, { cwd: root });
    const { analysis } = JSON.parse(stdout) as {
      analysis: { problems: { kind: string; resolutionKind?: string; entrypoint?: string }[] };
    };
    expect(analysis.problems.filter(({ resolutionKind }) => resolutionKind !== 'node16-cjs')).toEqual([]);
  });
});

describe.each(MAJORS)('on drizzle-orm %s', PATIENCE, (major) => {
  test('loads by import, every door', async () => {
    const app = await scratchApp(major);
    app.write(
      'doors.js',
      `for (const door of ${JSON.stringify(doorsOf(major))}) {
        const { size } = new Set(Object.keys(await import(door)));
        console.log(JSON.stringify([door, size > 0]));
      }`,
    );
    expect(lines((await app.node('doors.js')).stdout)).toEqual(doorsOf(major).map((door) => [door, true]));
  });

  test('loads by require from CommonJS, every door', async () => {
    const app = await scratchApp(major, 'commonjs');
    app.write(
      'doors.js',
      `const { LeaseLostError, PgStore } = require('@conveyor/store-pg');
      for (const door of ${JSON.stringify(doorsOf(major))}) {
        console.log(JSON.stringify([door, Object.keys(require(door)).length > 0]));
      }
      // One copy, whichever door it came through.
      console.log(JSON.stringify([require('@conveyor/store-pg/core').LeaseLostError === LeaseLostError, typeof PgStore]));`,
    );
    expect(lines((await app.node('doors.js')).stdout)).toEqual([
      ...doorsOf(major).map((door) => [door, true]),
      [true, 'function'],
    ]);
  });

  test('has classes and functions under the names that were written', async () => {
    const app = await scratchApp(major);
    app.write(
      'names.js',
      `for (const door of ${JSON.stringify(doorsOf(major))}) {
        for (const [name, value] of Object.entries(await import(door))) {
          if (typeof value === 'function') console.log(JSON.stringify([name, value.name]));
        }
      }`,
    );
    const names = lines((await app.node('names.js')).stdout) as [string, string][];
    expect(names.map(([name]) => name)).toEqual(
      expect.arrayContaining(['Queue', 'Worker', 'Job', 'PgStore', 'migrate']),
    );
    expect(names.filter(([exported, written]) => exported !== written)).toEqual([]);
  });

  test('answers a misspelt option with a short error that names it', async () => {
    const app = await scratchApp(major);
    app.write(
      'misspelt.js',
      `import { PgStore, Worker } from '@conveyor/store-pg';
      const store = new PgStore({ connection: 'postgres://localhost/app' });
      new Worker('q', async () => {}, { concurency: 2, store });`,
    );
    const { status, stderr } = spawnSync(process.execPath, ['misspelt.js'], {
      cwd: app.folder,
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    expect(status).toBe(1);
    expect(stderr).toContain('TypeError: options has no option "concurency". Did you mean concurrency?');
    expect(stderr.length).toBeLessThan(2048);
  });

  describe('in a bundle', () => {
    const database = useDatabase({ empty: true });

    test.each(['esm', 'cjs'] as const)('(%s) still migrates and works, with nothing beside it', async (format) => {
      const app = await scratchApp(major);
      const apart = mkdtempSync(join(inject('scratch'), 'apart-'));
      await build({
        entryPoints: [await app.compile(join(import.meta.dirname, 'fixtures/bundled.ts'))],
        bundle: true,
        minify: true,
        platform: 'node',
        format,
        outfile: join(apart, format === 'esm' ? 'app.mjs' : 'app.cjs'),
        define: { FORMAT: JSON.stringify(format) },
        logLevel: 'error',
      });
      await database.sql`drop schema public cascade`;
      await database.sql`create schema public`;
      const [file] = readdirSync(apart) as [string];
      const { stdout } = await run(process.execPath, [file], { cwd: apart, env: { DATABASE_URL: database.url } });
      expect(lines(stdout)).toEqual([{ migrated: true }, { result: { hello: format } }, { error: 'JobFailedError' }]);
    });
  });
});

function lines(text: string): unknown[] {
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}
