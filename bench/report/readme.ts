import type { Results } from './results.js';
import { ratiosTable } from './tables.js';

const SHOWN = ['bulk', 'single', 'process', 'removed', 'latency', 'latency-two'];

/** One small table and one plot. */
export function readmeSection(results: Results): string {
  const { machine } = results;
  return [
    `Multiples of the best peer on Postgres, medians of ${results.rounds} rounds on one machine (${machine.cores} cores, ` +
      `Postgres ${machine.postgres.split(' ')[0]}, default durability). [bench/RESULTS.md](bench/RESULTS.md) has the ` +
      'figures, the settings and an honest reading.',
    ratiosTable(results, SHOWN),
    '![Throughput by contender](bench/plots/svg/throughput.svg)',
  ].join('\n\n');
}
