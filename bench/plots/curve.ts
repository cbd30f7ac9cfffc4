import type { Curve } from '../curves/curve.js';
import { medianOf } from '../report/median.js';
import type { CurveResults } from '../report/results.js';
import type { Result } from '../run/interleaved.js';
import { colours, labelOf, render, THOUSANDS } from './svg.js';

interface Point {
  readonly contender: string;
  readonly label: string;
  readonly x: number;
  readonly rate: number;
}

/** Jobs a second over the abscissa of a curve, a line for each contender. */
export function curvePlot(curve: Curve, results: CurveResults['curves'][string]): Promise<string> {
  const values = pointsOf(curve, results);
  const { domain, range } = colours(values.map(({ contender }) => contender));
  const xs = [...new Set(values.map(({ x }) => x))];
  const mark = curve.markAt?.(Math.max(...xs));
  return render({
    title: { text: curve.title, subtitle: ['jobs per second', ...curve.what.split('; ')] },
    width: 560,
    height: 320,
    layer: [
      {
        data: { values },
        mark: { type: 'line', strokeWidth: 2.5, point: { size: 45, filled: true } },
        encoding: {
          x: {
            field: 'x',
            type: 'quantitative',
            title: curve.xTitle,
            scale: curve.series ? { zero: true } : { type: 'log', nice: false },
            axis: curve.series ? {} : { values: xs, labelExpr: THOUSANDS },
          },
          y: {
            field: 'rate',
            type: 'quantitative',
            title: 'jobs/s',
            scale: curve.logY ? { type: 'log' } : { zero: true },
            axis: { labelExpr: THOUSANDS },
          },
          color: { field: 'label', type: 'nominal', scale: { domain, range } },
        },
      },
      ...(mark === undefined
        ? []
        : [
            {
              data: { values: [{ at: mark }] },
              mark: { type: 'rule', strokeDash: [4, 4], color: '#555555' },
              encoding: { x: { field: 'at', type: 'quantitative' } },
            },
          ]),
    ],
  } as never);
}

function pointsOf(curve: Curve, results: Record<string, Record<string, Result>>): Point[] {
  return Object.entries(results).flatMap(([x, byContender]) =>
    Object.entries(byContender).flatMap(([contender, result]) => {
      const label = labelOf(contender);
      const figures = curve.series ? Object.keys(result.rounds[0] ?? {}) : [curve.figure];
      return figures.flatMap((figure) => {
        const rate = medianOf(result, figure);
        return rate === undefined ? [] : [{ contender, label, x: Number(curve.series ? figure : x), rate }];
      });
    }),
  );
}
