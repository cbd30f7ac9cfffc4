import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { noopLogger, PgStore } from '../../../src/index.js';
import type { EmbeddedServer } from '../../support/embedded.js';
import { type Crew, startCrew } from './crew.js';
import type { Bench } from './drill.js';
import { makeOracle } from './oracle.js';
import type { Random } from './random.js';

export interface Outcome {
  readonly figures: [string, string | number][];
  readonly faults: string[];
  close(): Promise<void>;
}

export interface BenchOptions {
  server: EmbeddedServer;
  script: string;
  random: Random;
  long: boolean;
  /** What sizes are multiplied by. */
  scale: number;
}

/** A drill's own database with migrated tables, and everything that it opens. */
export async function makeBench(options: BenchOptions): Promise<{ bench: Bench; outcome: Outcome }> {
  const { server, script, random, long, scale } = options;
  const closing: (() => unknown)[] = [];
  const outcome: Outcome = {
    figures: [],
    faults: [],
    async close() {
      for (const close of closing.splice(0).reverse()) await close();
    },
  };
  const url = await createDatabase(server.url);
  closing.push(() => dropDatabase(server.url, url));
  const sql = oracleClient(url);
  closing.push(() => sql.end({ timeout: 1 }));
  const open: Bench['open'] = async (more = {}) => {
    const connection = more.db ? {} : { connection: url };
    const store = new PgStore({ ...connection, logger: noopLogger, ...more });
    closing.push(() => store.disconnect());
    await store.connect();
    return store;
  };
  await (await open({ listen: false })).disconnect();
  const crews: Crew[] = [];
  const bench: Bench = {
    ...{ random, long, server, url, sql, open },
    oracle: await makeOracle(sql),
    size: (short, longer) => Math.ceil((long ? longer : short) * scale),
    async verify(store) {
      const checked = store ?? (await open({ listen: false }));
      for (const { invariant, queueName, id, detail } of await checked.verify({ limit: 5 })) {
        bench.fault(`verify: ${invariant}: ${id} of ${queueName}: ${detail}`);
      }
    },
    async emptyDatabase() {
      const empty = await createDatabase(server.url);
      closing.push(() => dropDatabase(server.url, empty));
      return empty;
    },
    crew(crewOptions) {
      const crew = startCrew(script, random.fork(`crew ${crews.length}`), crewOptions);
      crews.push(crew);
      closing.push(async () => {
        await crew.dismiss();
        for (const crash of crew.crashes) bench.fault(crash);
      });
      return crew;
    },
    defer: (close) => void closing.push(close),
    figure: (name, value) => void outcome.figures.push([name, value]),
    fault: (what) => void outcome.faults.push(what),
    check: (holds, what) => {
      if (!holds) bench.fault(what);
    },
  };
  return { bench, outcome };
}

/** A connection of the drill's, which no fault is meant for. */
export function oracleClient(url: string, max = 4): postgres.Sql {
  const connection = { application_name: 'oracle' };
  return postgres(url, { max, onnotice: () => {}, backoff: () => 0.1, connection });
}

async function createDatabase(serverUrl: string): Promise<string> {
  const url = new URL(serverUrl);
  url.pathname = `/drill_${randomBytes(4).toString('hex')}`;
  const admin = oracleClient(serverUrl, 1);
  await admin.unsafe(`create database ${url.pathname.slice(1)}`);
  await admin.end();
  return url.href;
}

async function dropDatabase(serverUrl: string, url: string): Promise<void> {
  const admin = oracleClient(serverUrl, 1);
  await admin.unsafe(`drop database if exists ${new URL(url).pathname.slice(1)} with (force)`).catch(() => {});
  await admin.end({ timeout: 1 });
}
