import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { startEmbedded } from './embedded.js';

export interface PostgresOptions {
  /** Default true. False: nothing is flushed to disk, for tests. A server given by DATABASE_URL stays as it is. */
  durable?: boolean;
  /** Major version of a server that we start. Default: PG_VERSION, else 18. */
  version?: string;
  /** Server settings by name, for a server that we start. */
  settings?: Record<string, string>;
  /** Receives one line: which server is used. */
  log?: (line: string) => void;
}

export interface PostgresServer {
  url: string;
  kind: 'DATABASE_URL' | 'testcontainers' | 'embedded';
  version: string;
  stop(): Promise<void>;
}

/** DATABASE_URL if set, else a container where a Docker daemon answers, else an embedded server from npm. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const log = options.log ?? (() => {});
  const server = (await given()) ?? (await contained(options, log)) ?? (await embedded(options));
  const address = new URL(server.url);
  log(`Postgres ${server.version} at ${address.host} (${server.kind})`);
  return server;
}

async function given(): Promise<PostgresServer | undefined> {
  const url = process.env['DATABASE_URL'];
  if (!url) return undefined;
  const version = await askVersion(url).catch((cause: Error) => {
    throw new Error(`DATABASE_URL is set, but no Postgres answers there: ${cause.message}`, { cause });
  });
  return { url, kind: 'DATABASE_URL', version, stop: async () => {} };
}

async function embedded(options: PostgresOptions): Promise<PostgresServer> {
  const version = options.version ?? process.env['PG_VERSION'];
  return { kind: 'embedded', ...(await startEmbedded({ ...options, version })) };
}

async function contained(options: PostgresOptions, log: (line: string) => void): Promise<PostgresServer | undefined> {
  if (!(await dockerAnswers())) return undefined;
  const settings = {
    max_connections: '300',
    ...(options.durable === false ? { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off' } : {}),
    ...options.settings,
  };
  try {
    // Imported only here: it takes a second, and most machines do without.
    const { PostgreSqlContainer } = await import('@testcontainers/postgresql');
    const container = await new PostgreSqlContainer(`postgres:${options.version ?? process.env['PG_VERSION'] ?? '18'}`)
      .withCommand(['postgres', ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])])
      .start();
    const url = container.getConnectionUri();
    return {
      url,
      kind: 'testcontainers',
      version: await askVersion(url),
      stop: async () => void (await container.stop()),
    };
  } catch (error) {
    log(`Docker answers, but the container did not start: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

async function askVersion(url: string): Promise<string> {
  const sql = postgres(url, { max: 1, connect_timeout: 10, onnotice: () => {} });
  try {
    const [row] = await sql<{ server_version: string }[]>`show server_version`;
    return row?.server_version.split(' ')[0] ?? '';
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/** Whether a Docker daemon answers, within two seconds. */
async function dockerAnswers(): Promise<boolean> {
  const host = process.env['DOCKER_HOST'];
  if (host && !host.startsWith('unix://')) return tcpAnswers(host);
  const runtime = process.env['XDG_RUNTIME_DIR'];
  const sockets = host
    ? [host.slice('unix://'.length)]
    : [
        '/var/run/docker.sock',
        ...(runtime ? [join(runtime, 'docker.sock')] : []),
        join(homedir(), '.docker/run/docker.sock'),
        join(homedir(), '.docker/desktop/docker.sock'),
      ];
  const answers = await Promise.all(sockets.filter((socket) => existsSync(socket)).map(socketAnswers));
  return answers.includes(true);
}

function socketAnswers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const ping = request({ socketPath, path: '/_ping', timeout: 2000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    ping.on('timeout', () => ping.destroy(new Error('timeout')));
    ping.on('error', () => resolve(false));
    ping.end();
  });
}

function tcpAnswers(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(host.replace(/^\w+:/, 'http:'));
    const socket = connect({ host: hostname, port: Number(port) || 2375, timeout: 2000 });
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('connect', () => end(true));
    socket.on('timeout', () => end(false));
    socket.on('error', () => end(false));
  });
}
