import { CONTENDERS, POSTGRES_PEERS } from '../contenders/index.js';
import { SCENARIOS } from '../scenarios/index.js';
import { goals, isReached } from './goals.js';
import { number, table } from './markdown.js';
import { medianOf, spreadOf } from './median.js';
import type { Results } from './results.js';

/** Scenarios whose figures of several contenders stand beside each other. */
const COMPARED = Object.keys(SCENARIOS).filter((name) => !['idle', 'import', 'memory'].includes(name));

const measured = (results: Results, names: readonly string[]) => names.filter((name) => results.scenarios[name]);
const contendersOf = (results: Results) =>
  Object.keys(CONTENDERS).filter((name) => Object.values(results.scenarios).some((each) => each[name]?.rounds.length));
const label = (name: string) => CONTENDERS[name]?.label ?? name;
const lessIsBetter = (unit: string | undefined) => unit !== 'jobs/s';

export function goalsTable(results: Results): string {
  const rows = goals(results).map((goal) => [
    goal.scenario,
    goal.text,
    `${goal.sense} ${number(goal.goal)}${goal.unit ? ` ${goal.unit}` : ''}`,
    number(goal.reached),
    goal.reached === undefined ? 'not measured' : isReached(goal) ? 'yes' : '**no**',
  ]);
  return table(['scenario', 'figure', 'goal', 'reached', ''], rows);
}

/** The best of the peers on Postgres. */
export function bestPeer({ scenarios }: Results, scenario: string): number | undefined {
  const { figure = '', unit } = SCENARIOS[scenario] ?? {};
  const all = POSTGRES_PEERS.map((peer) => medianOf(scenarios[scenario]?.[peer], figure)).filter(
    (each) => each !== undefined,
  );
  if (all.length === 0) return undefined;
  return lessIsBetter(unit) ? Math.min(...all) : Math.max(...all);
}

/** Every contender's median as a multiple of the best peer's on Postgres. */
export function ratiosTable(results: Results, names: readonly string[] = COMPARED): string {
  const contenders = contendersOf(results);
  const rows = measured(results, names).flatMap((scenario) => {
    const best = bestPeer(results, scenario);
    if (best === undefined) return [];
    const { figure = '', unit } = SCENARIOS[scenario] ?? {};
    const ratios = contenders.map((name) => {
      const median = medianOf(results.scenarios[scenario]?.[name], figure);
      return median === undefined ? undefined : (median / best).toFixed(2);
    });
    return [[`${scenario}${lessIsBetter(unit) ? ` ${figure}, less is better` : ''}`, ...ratios]];
  });
  return table(['', ...contenders.map(label)], rows);
}

/** Medians, with the lowest and the highest round in percent of them. */
export function mediansTable(results: Results): string {
  const contenders = contendersOf(results);
  const rows = measured(results, COMPARED).map((scenario) => {
    const { figure = '', unit = '' } = SCENARIOS[scenario] ?? {};
    const cells = contenders.map((name) => {
      const result = results.scenarios[scenario]?.[name];
      const median = number(medianOf(result, figure));
      const spread = result && result.rounds.length > 1 ? spreadOf(result, figure) : undefined;
      return median && spread ? `${median} <sub>${spread.map(percent).join(' ')}</sub>` : median;
    });
    return [`${scenario}, ${unit === 'ms' ? `${figure} in ms` : unit}`, ...cells];
  });
  return table(['', ...contenders.map(label)], rows);
}

const percent = (share: number) => `${share < 1 ? '−' : '+'}${Math.abs(Math.round((share - 1) * 100))}%`;
