import { POSTGRES_PEERS } from '../contenders/index.js';
import { medianOf } from './median.js';
import type { Results } from './results.js';

/** A goal of the project, and what was measured. */
export interface Goal {
  readonly scenario: string;
  readonly text: string;
  readonly sense: 'at least' | 'at most';
  readonly goal: number;
  /** Undefined where it was not measured. */
  readonly reached: number | undefined;
  readonly unit?: string;
}

export const isReached = ({ sense, goal, reached = Number.NaN }: Goal): boolean =>
  sense === 'at least' ? reached >= goal : reached <= goal;

export function goals({ scenarios }: Results): Goal[] {
  const get = (scenario: string, contender: string, figure = 'perSecond') =>
    medianOf(scenarios[scenario]?.[contender], figure);
  const ours = (scenario: string, figure?: string) => get(scenario, 'conveyor', figure);
  const best = (scenario: string, pick: (...numbers: number[]) => number, figure?: string) => {
    const all = POSTGRES_PEERS.map((peer) => get(scenario, peer, figure)).filter((each) => each !== undefined);
    return all.length > 0 ? pick(...all) : undefined;
  };
  const over = (a: number | undefined, b: number | undefined) => (a === undefined || !b ? undefined : a / b);
  const least = (scenario: string, text: string, goal: number, reached: number | undefined): Goal => ({
    scenario,
    text,
    sense: 'at least',
    goal,
    reached,
  });
  const most = (scenario: string, text: string, goal: number, reached: number | undefined, unit = ''): Goal => ({
    scenario,
    text,
    sense: 'at most',
    goal,
    reached,
    unit,
  });
  const started = 'startedPerSecond';
  const { max, min } = Math;
  return [
    least('bulk', '× the best Postgres peer', 1.3, over(ours('bulk'), best('bulk', max))),
    least('bulk', '× the floor', 0.7, over(ours('bulk'), get('bulk', 'floor'))),
    least('single', '× the best Postgres peer', 8, over(ours('single'), best('single', max))),
    least('single', '× BullMQ on Redis', 1, over(ours('single'), get('single', 'bullmq-redis'))),
    least('process', '× graphile-worker tuned', 1.5, over(ours('process'), get('process', 'graphile-tuned'))),
    least('process', '× the floor', 0.7, over(ours('process'), get('process', 'floor'))),
    least('removed', '× graphile-worker tuned', 1.8, over(ours('removed'), get('removed', 'graphile-tuned'))),
    most('latency', 'p50 × the best Postgres peer', 0.7, over(ours('latency', 'p50'), best('latency', min, 'p50'))),
    most('latency', 'p99 × p50', 3, over(ours('latency', 'p99'), ours('latency', 'p50'))),
    most(
      'latency-two',
      'p50 × the best Postgres peer',
      0.7,
      over(ours('latency-two', 'p50'), best('latency-two', min, 'p50')),
    ),
    most('latency-two', 'p99 × p50', 3, over(ours('latency-two', 'p99'), ours('latency-two', 'p50'))),
    least('scale-out', '4 processes × 1 process', 1, over(ours('scale-out'), ours('scale-out', 'perSecondOfOne'))),
    least('backlog', '× process', 0.9, over(ours('backlog', started), ours('process', started))),
    least('pinned', '× process', 0.9, over(ours('pinned'), ours('process'))),
    least('groups', '× process', 0.5, over(ours('groups', started), ours('process', started))),
    least('groups', '× a tenth of the groups', 0.8, over(ours('groups', started), ours('groups-few', started))),
    least('groups', '× a fifth of the backlog', 0.8, over(ours('groups', started), ours('groups-short', started))),
    least('events', '× process', 0.8, over(ours('events'), ours('process'))),
    least('events', 'of the events delivered', 1, ours('events', 'delivered')),
    most('idle', 'statements', 6, ours('idle', 'statements'), 'a minute'),
    most('idle', 'write transactions', 1, ours('idle', 'writes'), 'a minute'),
    most('idle', 'connections', 2, ours('idle', 'connections')),
    most('process', 'write transactions a job', 0.02, ours('process', 'writesPerJob')),
    most('process', 'WAL a job', 1229, ours('process', 'walPerJob'), 'bytes'),
    most('import', 'without drizzle-orm and postgres', 60, ours('import', 'ownMs'), 'ms'),
    most('memory', 'memory at the end × after warm-up', 1.15, over(ours('memory', 'endMB'), ours('memory', 'warmMB'))),
  ];
}
