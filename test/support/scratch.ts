/** Our package as a user has it: packed, and installed in apps outside the repository. */
import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { transform } from 'esbuild';
import { inject } from 'vitest';
import type {} from './scratch-setup.js';
import { until } from './until.js';

const root = resolve(import.meta.dirname, '../..');
const execute = promisify(execFile);

export type Major = '0.x' | '1.x';
export const MAJORS: readonly Major[] = ['0.x', '1.x'];

const INSTALL_TIMEOUT = 180_000;

export interface Ran {
  stdout: string;
  stderr: string;
}

/** Runs a command to its end; rejects with all that it said when it fails. */
export async function run(command: string, args: string[], options: RunOptions): Promise<Ran> {
  const { cwd, env, timeout = INSTALL_TIMEOUT } = options;
  const started = execute(command, args, {
    cwd,
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    timeout,
    maxBuffer: 32 * 1024 * 1024,
  });
  started.child.stdin?.end();
  return started.catch((error: Error & Partial<Ran>) => {
    throw new Error(`${command} ${args.join(' ')} failed: ${error.message}\n${error.stdout}\n${error.stderr}`);
  });
}

export interface RunOptions {
  cwd: string;
  env?: Record<string, string>;
  timeout?: number;
}

/** Runs npm with arguments that leave nothing but the app behind. */
export function npm(args: string[], options: RunOptions): Promise<Ran> {
  return run('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error', '--prefer-offline'], options);
}

/** The path of our tarball, packed from the sources as they are. */
export async function tarball(): Promise<string> {
  const folder = await once('package', async (target) => {
    // Everything that is published or takes part in the build. Tests and local leftovers have no place in it.
    const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] };
    const published = files
      .filter((file) => !file.startsWith('!') && file !== 'dist')
      .map((file) => file.split('/')[0]!);
    const configs = readdirSync(root).filter((file) => /^tsconfig.*\.json$/.test(file));
    const filter = (path: string) => basename(path) !== 'node_modules';
    for (const file of ['package.json', 'README.md', 'LICENSE', 'scripts', ...configs, ...published]) {
      cpSync(join(root, file), join(target, file), { recursive: true, filter });
    }
    symlinkSync(join(root, 'node_modules'), join(target, 'node_modules'));
    // What trying an example leaves behind must not be published.
    for (const folder of ['node_modules/left-over', 'dist']) {
      const leftOver = join(target, 'examples/drizzle-app', folder);
      mkdirSync(leftOver, { recursive: true });
      writeFileSync(join(leftOver, 'index.js'), '');
    }
    await npm(['pack', '--silent'], { cwd: target });
  });
  return join(folder, readdirSync(folder).find((file) => file.endsWith('.tgz')) as string);
}

let packed: Promise<PackedFile[]> | undefined;

/** The packed package's files and sizes, in bytes. */
export function packedFiles(): Promise<PackedFile[]> {
  packed ??= listPackedFiles();
  return packed;
}

interface PackedFile {
  path: string;
  size: number;
}

async function listPackedFiles(): Promise<PackedFile[]> {
  const { stdout } = await npm(['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: dirname(await tarball()) });
  const answer = JSON.parse(stdout) as object;
  // npm 12 answers with an object by package name.
  return (Object.values(answer)[0] as { files: PackedFile[] }).files;
}

/** The version of a package that the repository's lock file holds. */
function locked(name: string): string {
  return JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')).version;
}

/** What an app of a drizzle-orm major installs: our tarball, the drivers, drizzle-kit of that major. */
export function dependencies(major: Major, ours: string): Record<string, string> {
  const one = locked('drizzle-orm-1');
  const drizzle =
    major === '0.x'
      ? { 'drizzle-orm': locked('drizzle-orm'), 'drizzle-kit': locked('drizzle-kit') }
      : { 'drizzle-orm': one, 'drizzle-kit': one };
  const others = [
    'postgres',
    'pg',
    '@types/pg',
    '@types/node',
    '@electric-sql/pglite',
    '@neondatabase/serverless',
    'hono',
    'ws',
    'tsx',
  ];
  return {
    '@conveyor/store-pg': `file:${ours}`,
    ...drizzle,
    ...Object.fromEntries(others.map((name) => [name, locked(name)])),
  };
}

/** A folder in which everything is installed; apps are made beneath it. Installed once per run. */
async function installed(major: Major): Promise<string> {
  const ours = await tarball();
  return once(`drizzle-${major}`, async (folder) => {
    const manifest = { private: true, type: 'module', dependencies: dependencies(major, ours) };
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest, null, 2));
    await npm(['install', '--no-package-lock', '--ignore-scripts'], { cwd: folder });
  });
}

export interface App {
  readonly folder: string;
  /** Writes a file; TypeScript sources stay as they are. */
  write(name: string, text: string): string;
  /** Runs a file in Node: its TypeScript is turned into JavaScript beside it first. */
  node(name: string, options?: { args?: string[]; env?: Record<string, string> }): Promise<Ran>;
  /** Compiles a TypeScript file of ours to JavaScript in the app; answers its path. */
  compile(source: string | URL): Promise<string>;
  /** Runs drizzle-kit of the app's major. */
  kit(args: string[], env?: Record<string, string>): Promise<Ran>;
}

let apps = 0;

/** A new app with our package, a major of drizzle-orm and every driver. */
export async function scratchApp(major: Major, type: 'module' | 'commonjs' = 'module'): Promise<App> {
  const base = await installed(major);
  const folder = join(base, 'apps', `${process.pid}-${++apps}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type }));
  const write = (name: string, text: string) => {
    const file = join(folder, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    return file;
  };
  const compile = async (source: string | URL) => {
    const path = source instanceof URL ? source.pathname : source;
    const { code } = await transform(readFileSync(path, 'utf8'), { loader: 'ts', format: 'esm', target: 'node20' });
    return write(basename(path).replace(/\.ts$/, '.js'), code);
  };
  return {
    folder,
    write,
    compile,
    node: (name, { args = [], env = {} } = {}) => run(process.execPath, [name, ...args], { cwd: folder, env }),
    kit: (args, env = {}) =>
      run(process.execPath, [join(base, 'node_modules/drizzle-kit/bin.cjs'), ...args], {
        cwd: folder,
        env: { CI: 'true', ...env },
      }),
  };
}

/** Makes a folder once per run, whichever test files ask for it at the same time. */
async function once(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(inject('scratch'), name);
  const done = `${folder}.done`;
  try {
    mkdirSync(folder);
  } catch {
    await until(() => existsSync(done), { timeout: INSTALL_TIMEOUT, what: `${name} to be made` });
    const problem = readFileSync(done, 'utf8');
    if (problem) throw new Error(problem);
    return folder;
  }
  let problem = '';
  try {
    await make(folder);
  } catch (error) {
    problem = String((error as Error).stack);
    throw error;
  } finally {
    writeFileSync(`${done}.part`, problem);
    // Renamed, so that nobody reads it half-written.
    renameSync(`${done}.part`, done);
  }
  return folder;
}
