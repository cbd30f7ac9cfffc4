/**
 * Builds dist/ from src/: one module per source file, as the compiler writes it, with source maps.
 *
 * Declarations are kept where a door of the package reaches them. The others describe internals in terms of the one
 * major of drizzle-orm that they were made with. For the same reason the types of the schema doors are the sources
 * themselves, which fit both majors.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const dist = join(root, 'dist');
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, string | { types: string; default: string }>;
};

rmSync(dist, { recursive: true, force: true });
// The relations for drizzle-orm 1.x compile against that major only. The code of all other files is the same from both.
tsc('tsconfig.drizzle-1.json', '--noEmit', 'false', '--rootDir', 'src', '--outDir', dist, '--sourceMap');
tsc('tsconfig.build.json', '--outDir', dist);

const doors = Object.values(exports).flatMap((door) => (typeof door === 'string' ? [] : [door.types]));
const kept = reached(doors.filter((file) => file.endsWith('.d.ts')).map((file) => join(root, file)));
for (const name of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
  const file = join(dist, name);
  if (/\.d\.ts(\.map)?$/.test(name) && !kept.has(file.replace(/\.map$/, ''))) rmSync(file);
}

function tsc(project: string, ...options: string[]): void {
  const args = [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, project), ...options];
  execFileSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
}

/** The declarations and all that they import from each other. */
function reached(entries: string[]): Set<string> {
  const files = new Set(entries);
  for (const file of files) {
    for (const [, target] of readFileSync(file, 'utf8').matchAll(/(?:from|import\()\s*['"](\.[^'"]+)['"]/g)) {
      files.add(resolve(dirname(file), (target as string).replace(/\.js$/, '.d.ts')));
    }
  }
  return files;
}
