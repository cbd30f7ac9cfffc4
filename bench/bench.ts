/**
 * `npm run bench` in this folder: every scenario for every contender, rounds interleaved, each in a fresh database and
 * process on one Postgres with default durability. README.md has the flags.
 */
import { startPostgres } from '../test/support/postgres.js';
import { printGoals, printScenario } from './report/print.js';
import { type Results, readResults, writeResults } from './report/results.js';
import { writeReport } from './report/write.js';
import { buildAll } from './run/build.js';
import { interleaved } from './run/interleaved.js';
import { describeMachine } from './run/machine.js';
import { readOptions } from './run/options.js';
import { SCENARIOS } from './scenarios/index.js';
import { FULL, QUICK } from './scenarios/scenario.js';
import { SERVER_SETTINGS } from './server/database.js';

const QUICKLY = ['bulk', 'single', 'process', 'removed', 'latency', 'latency-two', 'pinned', 'groups', 'import'];
const options = readOptions('scenarios', Object.keys(SCENARIOS), QUICKLY);

await buildAll(options);
const server = await startPostgres({ durable: true, settings: SERVER_SETTINGS, log: console.log });
// The servers end with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
try {
  const sizes = options.quick ? QUICK : FULL;
  const results: Results = {
    machine: await describeMachine(server),
    sizes,
    rounds: options.rounds,
    // A part of the scenarios replaces only these.
    scenarios:
      options.save && options.names.length < Object.keys(SCENARIOS).length ? { ...readResults()?.scenarios } : {},
  };
  const begin = Date.now();
  for (const name of options.names) {
    const start = performance.now();
    const scenario = SCENARIOS[name] as (typeof SCENARIOS)[string];
    results.scenarios[name] = await interleaved({ ...options, server: server.url, name, scenario, sizes });
    printScenario(name, scenario, results.scenarios[name], performance.now() - start);
    if (options.save) writeResults(results);
  }
  printGoals(results);
  console.log(`\n${Math.round((Date.now() - begin) / 1000)} s`);
  if (options.save) await writeReport();
} finally {
  await server.stop();
}
