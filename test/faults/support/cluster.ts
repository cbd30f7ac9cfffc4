import { spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { until } from '../../support/until.js';
import { oracleClient } from './bench.js';
import { Skip } from './drill.js';

const ROOT = '/usr/lib/postgresql';

/** A primary with a synchronous streaming standby, of the system's Postgres: the embedded one has no pg_basebackup. */
export interface Cluster {
  readonly version: string;
  readonly primary: string;
  readonly standby: string;
  /** New transactions on the primary are read-only from now on. */
  freezePrimary(): Promise<void>;
  /** The primary ends as in a crash. */
  losePrimary(): Promise<void>;
  /** The standby takes writes; resolves when it does. */
  promote(): Promise<void>;
  remove(): Promise<void>;
}

function tools(): { bin: string; version: string } {
  const versions = existsSync(ROOT) ? readdirSync(ROOT).sort((a, b) => Number(b) - Number(a)) : [];
  const version = versions.find((one) => existsSync(join(ROOT, one, 'bin/pg_basebackup')));
  if (!version) throw new Skip(`there is no pg_basebackup in ${ROOT} (Debian: apt-get install postgresql)`);
  return { version, bin: join(ROOT, version, 'bin') };
}

/** Postgres does not run as root. */
function account(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const [uid, gid] = ['-u', '-g'].map((flag) =>
    Number.parseInt(String(spawnSync('id', [flag, 'postgres']).stdout), 10),
  );
  if (!uid || !gid) throw new Skip('there is no user "postgres" to run the servers');
  return { uid, gid };
}

export async function startCluster(): Promise<Cluster> {
  const { bin, version } = tools();
  const user = account();
  const home = mkdtempSync('/tmp/conveyor-cluster-');
  if (user.uid !== undefined) chownSync(home, user.uid, user.gid!);
  const run = (program: string, ...args: string[]) =>
    new Promise<void>((resolve, reject) => {
      const child = spawn(join(bin, program), args, { ...user, cwd: home, stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      child.stderr.on('data', (chunk) => {
        said += chunk;
      });
      child.once('error', reject);
      child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${program}: ${said}`))));
    });
  const [a, b] = [join(home, 'a'), join(home, 'b')];
  const [portA, portB] = [await freePort(), await freePort()];
  const url = (port: number) => `postgres://postgres@127.0.0.1:${port}/postgres`;
  const start = (data: string, port: number) =>
    run(
      'pg_ctl',
      ...['-D', data, '-w', '-l', `${data}.log`, 'start', '-o'],
      `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=200`,
    );
  await run('initdb', '-D', a, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C');
  await start(a, portA);
  await run('pg_basebackup', '-h', '127.0.0.1', '-p', String(portA), '-U', 'postgres', '-D', b, '-R', '-X', 'stream');
  await start(b, portB);
  const sql = oracleClient(url(portA), 1);
  const set = async (setting: string) => {
    await sql.unsafe(`alter system set ${setting}`);
    await sql`select pg_reload_conf()`;
  };
  await set(`synchronous_standby_names = '*'`);
  await until(async () => (await sql`select 1 from pg_stat_replication where sync_state = 'sync'`).length > 0);
  const stop = (data: string) => run('pg_ctl', '-D', data, '-m', 'immediate', '-w', 'stop');
  return {
    ...{ version, primary: url(portA), standby: url(portB) },
    freezePrimary: () => set('default_transaction_read_only = on'),
    async losePrimary() {
      await sql.end({ timeout: 1 });
      await stop(a);
    },
    promote: () => run('pg_ctl', '-D', b, '-w', 'promote'),
    async remove() {
      await sql.end({ timeout: 1 });
      for (const data of [a, b]) await stop(data).catch(() => {}); // it may have ended already
      rmSync(home, { recursive: true, force: true });
    },
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
