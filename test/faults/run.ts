// npm run test:faults -- [--long] [--only kill,stop] [--seed N] [--scale 0.1] [--list]
import { randomInt } from 'node:crypto';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { startEmbedded } from '../support/embedded.js';
import { DRILLS } from './drills/index.js';
import { makeBench } from './support/bench.js';
import { bundleWorker } from './support/bundle.js';
import { type Drill, Skip } from './support/drill.js';
import { seconds } from './support/figures.js';
import { randomFrom } from './support/random.js';

const { values: args } = parseArgs({
  options: {
    long: { type: 'boolean', default: false },
    only: { type: 'string' },
    seed: { type: 'string' },
    /** A part of the sizes of a form, to try a drill. */
    scale: { type: 'string', default: '1' },
    list: { type: 'boolean', default: false },
  },
});
const seed = args.seed === undefined ? randomInt(2 ** 31) : Number(args.seed);
if (!Number.isInteger(seed)) throw new RangeError(`--seed ${args.seed}: a whole number is needed`);
const named = args.only?.split(',');
const unknown = named?.filter((name) => !DRILLS.some((drill) => drill.name === name)) ?? [];
if (unknown.length > 0)
  throw new RangeError(`--only ${unknown}: choose of ${DRILLS.map(({ name }) => name).join(', ')}`);
const chosen = DRILLS.filter((drill) => (named ? named.includes(drill.name) : args.long || !drill.longOnly));
if (args.list) {
  for (const { name, title } of DRILLS) console.log(`${name.padEnd(12)} ${title}`);
  process.exit(0);
}

const escaped: unknown[] = [];
process.on('unhandledRejection', (error) => escaped.push(error));
process.on('uncaughtException', (error) => escaped.push(error));

const server = await startEmbedded({ version: process.env['PG_VERSION'] });
const worker = await bundleWorker();
// Also when it is interrupted: server and workers end with this process by themselves.
process.on('exit', () => worker.remove());
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));
console.log(
  `Postgres ${server.version}, Node ${process.version}, ${cpus().length} cores, seed ${seed}, ${args.long ? 'long' : 'short'} form`,
);
let failed = 0;
try {
  for (const drill of chosen) if (!(await runDrill(drill))) failed++;
} finally {
  await server.stop();
}
console.log(failed === 0 ? `all ${chosen.length} drills passed` : `${failed} of ${chosen.length} drills FAILED`);
process.exit(failed === 0 ? 0 : 1);

async function runDrill(drill: Drill): Promise<boolean> {
  const began = performance.now();
  // A drill has the same seed whichever others are chosen.
  const random = randomFrom(seed).fork(drill.name);
  const { bench, outcome } = await makeBench({
    server,
    script: worker.script,
    random,
    long: args.long,
    scale: Number(args.scale),
  });
  let skipped: string | undefined;
  try {
    await drill.run(bench);
    await bench.verify();
  } catch (error) {
    if (error instanceof Skip) skipped = error.message;
    else outcome.faults.push(`the drill itself: ${error instanceof Error ? error.stack : error}`);
  }
  await outcome.close();
  for (const error of escaped.splice(0)) {
    outcome.faults.push(`nobody caught: ${error instanceof Error ? error.stack : String(error)}`);
  }
  const verdict = outcome.faults.length > 0 ? 'FAULT' : skipped ? `skipped: ${skipped}` : 'ok';
  console.log(`${drill.name.padEnd(12)} ${verdict}  (${seconds(performance.now() - began)})`);
  for (const [name, value] of outcome.figures) console.log(`    ${name}: ${value}`);
  for (const fault of outcome.faults.slice(0, 20)) console.log(`  ! ${fault}`);
  if (outcome.faults.length === 0) return true;
  console.log(`  again: npm run test:faults -- --only ${drill.name} --seed ${seed}${args.long ? ' --long' : ''}`);
  return false;
}
