/**
 * `npm run bench` in this folder: every scenario for every contender, rounds interleaved, each in a fresh database and
 * process on one Postgres with default durability. Prints medians and ratios; absolute figures are this machine's.
 */
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import postgres from 'postgres';
import { startPostgres } from '../test/support/postgres.js';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    scenarios: { type: 'string', default: 'bulk,single,process,latency' },
    contenders: { type: 'string', default: 'conveyor,floor' },
  },
});
const scenarios = values.scenarios.split(',');
const contenders = values.contenders.split(',');

type Figures = Record<string, number>;

/** What the floor can do as well: it has neither history nor groups nor events. */
const COMMON = ['bulk', 'single', 'process', 'latency', 'pinned'];
const takesPart = (contender: string, scenario: string) => contender !== 'floor' || COMMON.includes(scenario);

async function run(server: string, contender: string, scenario: string): Promise<Figures> {
  const admin = postgres(server, { max: 1, onnotice() {} });
  const name = `bench_${Date.now()}_${contender}`;
  await admin`create database ${admin(name)}`;
  const url = new URL(server);
  url.pathname = `/${name}`;
  try {
    const child = spawn(process.execPath, ['--import', 'tsx', 'scenario.ts', contender, scenario, url.href], {
      cwd: import.meta.dirname,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    const code = await new Promise((resolve) => child.on('exit', resolve));
    if (code !== 0) throw new Error(`${contender} ${scenario} ended with ${code}`);
    return JSON.parse(out.trim().split('\n').at(-1) as string) as Figures;
  } finally {
    await admin`drop database ${admin(name)} with (force)`;
    await admin.end();
  }
}

const median = (numbers: number[]) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)] as number;

const server = await startPostgres({ durable: true, log: console.log });
try {
  for (const scenario of scenarios) {
    const able = contenders.filter((name) => takesPart(name, scenario));
    const results = new Map<string, Figures[]>(able.map((name) => [name, []]));
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const name of able) results.get(name)?.push(await run(server.url, name, scenario));
    }
    console.log(`\n${scenario}`);
    const rows = Object.fromEntries(
      [...results].map(([name, all]) => [
        name,
        Object.fromEntries(
          Object.keys(all[0] as Figures).map((key) => [
            key,
            Number(median(all.map((figures) => figures[key] as number)).toPrecision(4)),
          ]),
        ),
      ]),
    );
    console.table(rows);
  }
} finally {
  await server.stop();
}
