/**
 * Builds dist/ from src/: what the package's `exports` name, and nothing else.
 *
 * The code is bundled, so that loading it opens a few files instead of a hundred, and minified, so that it stays small
 * next to what an app installs anyway. Of the types go in those that the doors' types reach. Those of the schema doors
 * are TypeScript sources: a declaration would name the types of the one major of drizzle-orm that made it.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { build } from 'esbuild';

interface Door {
  types: string;
  default: string;
}

const root = resolve(import.meta.dirname, '..');
const dist = join(root, 'dist');
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, string | Door>;
};
const doors = Object.values(exports).filter((door) => typeof door !== 'string');
const asSource = (file: string) => file.replace('./dist/', 'src/').replace(/(\.d\.ts|\.js)$/, '.ts');

rmSync(dist, { recursive: true, force: true });
await bundle();
const declarations = mkdtempSync(join(tmpdir(), 'conveyor-build-'));
try {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const args = [tsc, '-p', join(root, 'tsconfig.build.json'), '--outDir', declarations];
  execFileSync(process.execPath, args, { stdio: 'inherit' });
  copyTypes();
} finally {
  rmSync(declarations, { recursive: true, force: true });
}

async function bundle(): Promise<void> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: doors.map((door) => asSource(door.default)),
    outbase: 'src',
    outdir: 'dist',
    bundle: true,
    splitting: true,
    chunkNames: 'chunks/[name]-[hash]',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    minify: true,
    legalComments: 'none',
    write: false,
  });
  // What is left of indentation stands in SQL texts.
  for (const { path, text } of outputFiles) put(path, text.replace(/\n +/g, '\n'));
}

/** Sources where the schema doors reach them, declarations elsewhere. */
function copyTypes(): void {
  const entries = doors.map(({ types }) => types.replace('./dist/', ''));
  const sources = reached(entries.filter((file) => !file.endsWith('.d.ts')).map((file) => join(root, 'src', file)));
  const inDist = (source: string) => join(dist, relative(join(root, 'src'), source));
  for (const file of sources) put(inDist(file), readFileSync(file, 'utf8'));
  for (const file of reached(
    entries.filter((name) => name.endsWith('.d.ts')).map((name) => join(declarations, name)),
  )) {
    const target = join(dist, relative(declarations, file));
    if (!existsSync(target.replace(/\.d\.ts$/, '.ts'))) put(target, readFileSync(file, 'utf8'));
  }
}

/** The files and all that they import, of the same kind. */
function reached(entries: string[]): Set<string> {
  const files = new Set(entries);
  for (const file of files) {
    const kind = file.endsWith('.d.ts') ? '.d.ts' : '.ts';
    for (const [, target] of readFileSync(file, 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) {
      files.add(resolve(dirname(file), (target as string).replace(/\.js$/, kind)));
    }
  }
  return files;
}

function put(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}
