import { CHART_MINUTES, isEmpty, type Throughput } from '../queries/throughput.js';
import { number, Panel } from './parts.js';

/** Completions and failures per minute: drawn by the script, and told in words beside it. */
export function ThroughputChart({ series, metrics }: { series: Throughput; metrics: boolean }) {
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
  const words = `${number(sum(series.completed))} completed and ${number(sum(series.failed))} failed in the last hour`;
  const nothing = isEmpty(series);
  return (
    <Panel title="Per minute" note={nothing ? 'last hour' : words} keyed="chart">
      {nothing ? (
        <p class="empty quiet">
          {metrics
            ? 'No job has ended in the last hour.'
            : 'No metrics: workers write them when their store has metrics: { enabled: true }.'}
        </p>
      ) : (
        <div class="body">
          <div
            class="chart"
            role="img"
            aria-label={words}
            data-keep=""
            data-key="throughput"
            data-chart={JSON.stringify(series)}
          ></div>
        </div>
      )}
    </Panel>
  );
}

const WIDTH = 120;
const HEIGHT = 22;
/** Minutes that one bar stands for. */
const STEP = 2;
const BARS = CHART_MINUTES / STEP;

/** The same for a row of a table: a picture without numbers, which stand in the columns beside it. */
export function Sparkline({ series }: { series: Throughput }) {
  const bars = (values: readonly number[]) =>
    Array.from({ length: BARS }, (_, i) => (values[i * STEP] ?? 0) + (values[i * STEP + 1] ?? 0));
  const completed = bars(series.completed);
  const failed = bars(series.failed);
  const most = Math.max(1, ...completed.map((n, i) => n + failed[i]!));
  const width = WIDTH / BARS;
  const bar = (n: number, below: number, i: number, kind: string) => {
    const height = n === 0 ? 0 : Math.max(1, (n / most) * HEIGHT);
    const y = HEIGHT - (below / most) * HEIGHT - height;
    return n === 0 ? null : <rect class={kind} x={i * width} y={y} width={width - 1} height={height} />;
  };
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
      {completed.map((n, i) => bar(n, 0, i, 'done'))}
      {failed.map((n, i) => bar(n, completed[i]!, i, 'bad'))}
    </svg>
  );
}
