import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const folder = resolve(import.meta.dirname, '..');

/** The JavaScript that every contender's process runs, without a loader. */
export const CHILD = join(folder, 'dist/child.js');

/** Builds the package under test, as it is published, unless that is done; and the processes of the bench. */
export async function buildAll(options: { readonly build: boolean }): Promise<void> {
  if (options.build) {
    console.log('building the package');
    execFileSync('npm', ['run', '--silent', 'build'], { cwd: resolve(folder, '..'), stdio: 'inherit' });
  }
  await build({
    absWorkingDir: folder,
    entryPoints: ['child.ts'],
    outdir: 'dist',
    // Flat, so that every module is as far from the package's dist/ as its source is.
    chunkNames: '[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
  });
}
