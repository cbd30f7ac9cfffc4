/**
 * `npm run curves` in this folder: throughput over backlog, history, time under a pinned snapshot, concurrency and
 * payload. README.md has the flags.
 */
import { startPostgres } from '../test/support/postgres.js';
import { CURVES } from './curves/index.js';
import { printScenario } from './report/print.js';
import { type CurveResults, readCurves, writeCurves } from './report/results.js';
import { writeReport } from './report/write.js';
import { buildAll } from './run/build.js';
import { interleaved } from './run/interleaved.js';
import { describeMachine } from './run/machine.js';
import { readOptions } from './run/options.js';
import { FULL } from './scenarios/scenario.js';
import { SERVER_SETTINGS } from './server/database.js';

const { names, ...options } = readOptions('curves', Object.keys(CURVES).map(shorten), Object.keys(CURVES).map(shorten));

await buildAll(options);
const server = await startPostgres({ durable: true, settings: SERVER_SETTINGS, log: console.log });
// The servers end with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
try {
  const results: CurveResults = {
    machine: await describeMachine(server),
    curves: { ...readCurves()?.curves },
  };
  for (const name of names) {
    const scenario = CURVES[`curve:${name}`] as (typeof CURVES)[string];
    const points: CurveResults['curves'][string] = {};
    results.curves[name] = points;
    for (const x of options.at ?? (options.quick ? scenario.quickXs : scenario.xs)) {
      const start = performance.now();
      const plan = { ...options, server: server.url, name: `curve:${name}`, scenario, sizes: FULL, x };
      points[x] = await interleaved(plan);
      printScenario(`${name} ${x}`, scenario, points[x], performance.now() - start);
      if (options.save) writeCurves(results);
    }
  }
  if (options.save) await writeReport();
} finally {
  await server.stop();
}

function shorten(name: string): string {
  return name.replace('curve:', '');
}
