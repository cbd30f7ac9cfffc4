import { CONTENDERS } from '../contenders/index.js';
import { SCENARIOS } from '../scenarios/index.js';
import { number, table } from './markdown.js';
import { medianOf } from './median.js';
import type { Results } from './results.js';

const label = (name: string) => CONTENDERS[name]?.label ?? name;

/** What the server counts for each job. */
export function costTable({ scenarios }: Results): string {
  const rows = ['bulk', 'single', 'process', 'removed'].flatMap((scenario) =>
    Object.entries(scenarios[scenario] ?? {})
      .filter(([name, { rounds }]) => CONTENDERS[name]?.server === 'postgres' && rounds.length > 0)
      .map(([name, result]) => [
        scenario,
        label(name),
        number(medianOf(result, 'walPerJob')),
        number(medianOf(result, 'writesPerJob')),
        number(result.statements),
      ]),
  );
  return table(['', '', 'WAL bytes', 'write transactions', 'statements'], rows);
}

/** Some figures of one scenario, by contender. */
function figuresTable({ scenarios }: Results, scenario: string, figures: Readonly<Record<string, string>>): string {
  const rows = Object.entries(scenarios[scenario] ?? {})
    .filter(([, { rounds }]) => rounds.length > 0)
    .map(([name, result]) => [label(name), ...Object.keys(figures).map((figure) => number(medianOf(result, figure)))]);
  return table(['', ...Object.values(figures)], rows);
}

const PERCENTILES = { p50: 'p50', p95: 'p95', p99: 'p99', max: 'max' };

const DETAILS: Readonly<Record<string, readonly [string, Readonly<Record<string, string>>]>> = {
  latency: ['Latency in one process, ms', PERCENTILES],
  'latency-two': ['Latency, producer and worker in two processes, ms', PERCENTILES],
  'scale-out': ['Worker processes, jobs/s', { perSecondOfOne: 'one', perSecond: 'four' }],
  events: ['Events', { perSecond: 'jobs/s', delivered: 'share of the events delivered' }],
  idle: [
    'Idle worker, a minute',
    { statements: 'statements', writes: 'write transactions', connections: 'connections' },
  ],
  import: ['Loading the package, ms', { totalMs: 'all', ownMs: 'without drizzle-orm and postgres' }],
  memory: ['Memory of the worker’s process, MB', { warmMB: 'after two fifths of the jobs', endMB: 'at the end' }],
};

export function detailSections(results: Results): string[] {
  return Object.entries(DETAILS).flatMap(([scenario, [title, figures]]) =>
    results.scenarios[scenario] ? [`### ${title}`, figuresTable(results, scenario, figures)] : [],
  );
}

export function failures({ scenarios }: Results): string {
  const rows = Object.entries(scenarios).flatMap(([scenario, results]) =>
    Object.entries(results).flatMap(([name, { failure }]) =>
      failure ? [`- ${scenario}, ${label(name)}: ${failure}`] : [],
    ),
  );
  return rows.length > 0 ? rows.join('\n') : 'Every contender has run every scenario that it takes part in.';
}

export function scenariosTable(results: Results): string {
  const rows = Object.keys(results.scenarios).map((name) => [name, SCENARIOS[name]?.what]);
  return table(['scenario', 'what'], rows, '---');
}

export function settingsTable(): string {
  return table(
    ['contender', 'settings'],
    Object.values(CONTENDERS).map(({ label: name, settings }) => [name, settings]),
    '---',
  );
}

const list = (values: object) =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');

export function machineTable({ machine, rounds, sizes }: Results): string {
  const { at, cpu, cores, memoryGB, system, node, postgres, redis, commit, packages, settings } = machine;
  const rows = [
    ['measured', `${at.slice(0, 16).replace('T', ' ')} UTC, rounds: ${rounds}, commit ${commit}`],
    ['sizes', list(sizes)],
    ['machine', `${cpu}, ${cores} cores, ${memoryGB} GB, ${system}`],
    ['Node', node],
    ['Postgres', postgres],
    ['its settings', list(settings)],
    ['Redis', redis === 'none' ? 'none' : `${redis}, AOF on, no snapshots, noeviction`],
    ['packages', list(packages)],
  ];
  return table(['', ''], rows, '---');
}
