import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CURVES } from '../curves/index.js';
import { type CurveResults, FOLDER, type Results } from '../report/results.js';
import { curvePlot } from './curve.js';
import { latencyPlot } from './latency.js';
import { throughputPlot } from './throughput.js';

export interface Plot {
  /** From this folder. */
  readonly path: string;
  readonly title: string;
}

/** Draws what has been measured. */
export async function drawPlots(results: Results | undefined, curves: CurveResults | undefined): Promise<Plot[]> {
  mkdirSync(join(FOLDER, 'plots/svg'), { recursive: true });
  const plots: Plot[] = [];
  const draw = async (name: string, title: string, svg: Promise<string>) => {
    const path = `plots/svg/${name}.svg`;
    writeFileSync(join(FOLDER, path), `${await svg}\n`);
    plots.push({ path, title });
  };
  if (results?.scenarios['process']) await draw('throughput', 'Throughput by contender', throughputPlot(results));
  if (results?.scenarios['latency']) await draw('latency', 'Latency by contender', latencyPlot(results));
  for (const [name, curve] of Object.entries(CURVES)) {
    const points = curves?.curves[name.replace('curve:', '')];
    if (points) await draw(name.replace('curve:', ''), curve.title, curvePlot(curve, points));
  }
  return plots;
}
