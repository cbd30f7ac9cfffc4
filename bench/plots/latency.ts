import { medianOf } from '../report/median.js';
import type { Results } from '../report/results.js';
import { colours, labelOf, render } from './svg.js';

const PANELS = { latency: 'one process', 'latency-two': 'producer and worker in two processes' };
const PERCENTILES = ['p50', 'p95', 'p99'];

/** From `add` to the start of the handler, at an idle worker: the percentiles by contender. */
export function latencyPlot({ scenarios }: Results): Promise<string> {
  const values = Object.entries(PANELS).flatMap(([scenario, panel]) =>
    Object.entries(scenarios[scenario] ?? {}).flatMap(([contender, result]) =>
      PERCENTILES.flatMap((percentile) => {
        const ms = medianOf(result, percentile);
        return ms === undefined ? [] : [{ panel, contender, label: labelOf(contender), percentile, ms }];
      }),
    ),
  );
  const { domain, range } = colours(values.map(({ contender }) => contender));
  const color = { field: 'label', type: 'nominal', scale: { domain, range }, legend: null };
  return render({
    title: {
      text: 'Latency',
      subtitle: 'ms from add to the start of the handler, idle worker; medians over the rounds',
    },
    data: { values },
    facet: { field: 'panel', type: 'nominal', sort: Object.values(PANELS) },
    columns: 2,
    spacing: 40,
    spec: {
      width: 280,
      height: { step: 28 },
      layer: [
        { mark: { type: 'line', strokeWidth: 2 }, encoding: { color, detail: { field: 'label' } } },
        {
          mark: { type: 'point', filled: true, size: 80, opacity: 1 },
          encoding: {
            color,
            shape: {
              field: 'percentile',
              type: 'nominal',
              scale: { domain: PERCENTILES, range: ['circle', 'diamond', 'triangle-right'] },
              legend: { orient: 'bottom', symbolFillColor: '#444444', symbolStrokeColor: '#444444' },
            },
          },
        },
      ],
      encoding: {
        y: { field: 'label', type: 'nominal', title: null, sort: domain, axis: { ticks: false, labelLimit: 220 } },
        x: { field: 'ms', type: 'quantitative', title: 'ms', scale: { zero: true } },
      },
    },
  } as never);
}
