/** The tarball, as npm would publish it. */
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { build } from 'esbuild';
import { describe, expect, inject, test } from 'vitest';
import { MIGRATIONS } from '../../src/migrations/generated.js';
import { useDatabase } from '../support/database.js';
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

/** Most of it is the text of the SQL statements. The aim is 300 KB. */
const MAX_BYTES = 350 * 1024;
const PATIENCE = { timeout: 240_000 };

describe('the tarball', PATIENCE, () => {
  test('holds what its doors name, and is small', async () => {
    const files = await packedFiles();
    const paths = files.map(({ path }) => path);
    for (const door of Object.values(manifest.exports)) {
      for (const file of typeof door === 'string' ? [door] : [door.types, door.default]) {
        expect(paths).toContain(file.replace('./', ''));
      }
    }
    const known = /^(dist\/.*|drizzle\/[^/]*\.sql|package\.json|README\.md|LICENSE|CHANGELOG\.md)$/;
    expect(paths.filter((path) => !known.test(path))).toEqual([]);
    expect(paths.filter((path) => path.startsWith('drizzle/'))).toHaveLength(MIGRATIONS.length);
    // The README is for readers: it may grow.
    const bytes = files.filter(({ path }) => path !== 'README.md').reduce((sum, { size }) => sum + size, 0);
    expect(bytes).toBeLessThanOrEqual(MAX_BYTES);
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
    const problems = analysis.problems.filter(
      ({ resolutionKind }) => resolutionKind !== 'node10' && resolutionKind !== 'node16-cjs',
    );
    expect(problems).toEqual([]);
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
