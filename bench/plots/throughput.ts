import { medianOf } from '../report/median.js';
import type { Results } from '../report/results.js';
import { SCENARIOS } from '../scenarios/index.js';
import { colours, labelOf, render, THOUSANDS } from './svg.js';

const PANELS = { bulk: 'bulk', single: 'single', process: 'process', removed: 'process, removed on completion' };

/** Jobs a second by contender: a panel for each scenario, each with a scale of its own. */
export function throughputPlot({ scenarios }: Results): Promise<string> {
  const values = Object.entries(PANELS).flatMap(([scenario, panel]) =>
    Object.entries(scenarios[scenario] ?? {}).flatMap(([contender, result]) => {
      const rate = medianOf(result, SCENARIOS[scenario]?.figure ?? '');
      return rate === undefined ? [] : [{ panel, contender, label: labelOf(contender), rate }];
    }),
  );
  const { domain, range } = colours(values.map(({ contender }) => contender));
  const y = {
    field: 'label',
    type: 'nominal',
    title: null,
    scale: { domain },
    axis: { ticks: false, labelLimit: 220 },
  };
  return render({
    title: { text: 'Throughput', subtitle: 'jobs per second, medians; each panel has its own scale' },
    data: { values },
    facet: { field: 'panel', type: 'nominal', sort: Object.values(PANELS) },
    columns: 2,
    spacing: { row: 28, column: 40 },
    spec: {
      width: 260,
      height: { step: 24 },
      layer: [
        {
          mark: { type: 'bar', height: 16, cornerRadiusEnd: 2 },
          encoding: { color: { field: 'label', type: 'nominal', scale: { domain, range }, legend: null } },
        },
        {
          mark: { type: 'text', align: 'left', dx: 4, fontSize: 12 },
          encoding: { text: { field: 'rate', type: 'quantitative', format: ',.3r' } },
        },
      ],
      encoding: {
        y,
        x: { field: 'rate', type: 'quantitative', title: null, axis: { labelExpr: THOUSANDS, tickCount: 4 } },
      },
    },
    resolve: { scale: { x: 'independent' } },
  } as never);
}
