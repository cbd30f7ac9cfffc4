import { spawn } from 'node:child_process';
import { CONTENDERS, type Entry } from '../contenders/index.js';
import type { Figures, Order, Sizes } from '../scenarios/scenario.js';
import { createDatabase, dropDatabase } from '../server/database.js';
import { redisVersion, startRedis } from '../server/redis.js';
import { CHILD } from './build.js';
import { newEnough, OLDEST_NODE } from './node.js';

export interface Run {
  /** URL of a Postgres server. */
  readonly server: string;
  readonly contender: string;
  readonly scenario: string;
  readonly sizes: Sizes;
  readonly x?: number | undefined;
  /** Has the server count statements, which costs time. */
  readonly count?: boolean;
  readonly timeoutSeconds: number;
}

let runs = 0;

/** Runs a scenario of a contender in a fresh database and a fresh process, and returns its figures. */
export async function runOnce(run: Run): Promise<Figures> {
  const entry = CONTENDERS[run.contender] as Entry;
  const name = `bench_${process.pid}_${++runs}`;
  const redis = entry.server === 'postgres' ? undefined : await startRedis(fsyncOf(entry));
  try {
    const url = await createDatabase(run.server, name, run.count ?? false);
    return await inProcess(run, {
      contender: run.contender,
      scenario: run.scenario,
      address: { postgres: url.href, redis: redis?.port ?? 0, wakes: run.scenario.startsWith('latency') },
      sizes: run.sizes,
      ...(run.x !== undefined && { x: run.x }),
    });
  } finally {
    await redis?.stop();
    await dropDatabase(run.server, name);
  }
}

/** Why a contender cannot run on this machine; undefined if it can. */
export function lacking(entry: Entry): string | undefined {
  if (entry.node22 && !newEnough()) return `needs Node ${OLDEST_NODE} or newer, this is ${process.versions.node}`;
  if (entry.server !== 'postgres' && !redisVersion())
    return 'needs redis-server (Debian: apt-get install redis-server)';
  return undefined;
}

const fsyncOf = ({ server }: Entry) => (server === 'redis-durable' ? 'always' : 'everysec');

function inProcess({ timeoutSeconds }: Run, order: Order): Promise<Figures> {
  const child = spawn(process.execPath, [CHILD, JSON.stringify(order)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`not done after ${timeoutSeconds} s`));
      child.kill('SIGKILL');
    }, timeoutSeconds * 1000);
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      if (code !== 0) return reject(new Error(`ended with ${code ?? signal}`));
      try {
        resolve(JSON.parse(out.trim().split('\n').at(-1) ?? '') as Figures);
      } catch (cause) {
        reject(new Error('did not print its figures', { cause }));
      }
    });
  });
}
