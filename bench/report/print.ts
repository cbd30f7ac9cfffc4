import type { Result } from '../run/interleaved.js';
import type { Scenario } from '../scenarios/scenario.js';
import { goals, isReached } from './goals.js';
import { medianOf } from './median.js';
import type { Results } from './results.js';

/** Prints the medians of a scenario that took so long. */
export function printScenario(
  name: string,
  { unit, what, figure }: Scenario,
  results: Record<string, Result>,
  ms: number,
): void {
  console.log(`\n${name}: ${what} (${figure} in ${unit}; ${Math.round(ms / 1000)} s)`);
  const rows = Object.entries(results).map(([contender, result]) => {
    const figures = Object.keys(result.rounds[0] ?? {}).filter((key) => key !== 'statementsPerJob');
    const medians = figures.map((key) => [key, short(medianOf(result, key))] as const);
    const counted = result.statements === undefined ? {} : { statementsPerJob: short(result.statements) };
    return [
      contender,
      { ...Object.fromEntries(medians), ...counted, ...(result.failure && { failure: result.failure }) },
    ];
  });
  console.table(Object.fromEntries(rows));
}

/** Prints the goals that can be judged by these results. */
export function printGoals(results: Results): void {
  const judged = goals(results).filter(({ reached }) => reached !== undefined);
  if (judged.length === 0) return;
  console.log('\ngoals');
  for (const goal of judged) {
    const { scenario, text, sense, goal: number, reached, unit = '' } = goal;
    const mark = isReached(goal) ? 'yes' : 'NO ';
    console.log(`${mark} ${scenario}: ${short(reached)} ${text} ${unit}`.trimEnd(), `(${sense} ${number})`);
  }
}

const short = (number: number | undefined) => (number === undefined ? undefined : Number(number.toPrecision(4)));
