import type Chart from 'uplot';

/** Served before this script, as a global. */
declare const uPlot: typeof Chart;

/** What `data-chart` of an element holds. */
interface Series {
  /** Epoch ms at which the first minute begins. */
  from: number;
  completed: number[];
  failed: number[];
}

const HEIGHT = 190;
const drawn = new Map<HTMLElement, { chart: Chart; theme: string }>();

/** Draws every chart of the page, or moves it to newer numbers. */
export function drawCharts(): void {
  for (const [element, { chart }] of drawn) {
    if (element.isConnected) continue;
    chart.destroy();
    drawn.delete(element);
  }
  for (const element of document.querySelectorAll<HTMLElement>('[data-chart]')) draw(element);
}

function draw(element: HTMLElement): void {
  const { from, completed, failed } = JSON.parse(element.dataset['chart'] as string) as Series;
  const data: Chart.AlignedData = [completed.map((_, i) => from / 1_000 + i * 60), completed, failed];
  const colours = coloursOf(element);
  const theme = Object.values(colours).join();
  const known = drawn.get(element);
  if (known?.theme === theme) {
    known.chart.setData(data);
    return;
  }
  known?.chart.destroy();
  element.replaceChildren();
  drawn.set(element, { chart: new uPlot(options(element, colours), data, element), theme });
  if (!known) resized.observe(element);
}

const resized = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const { width } = contentRect;
    if (width > 0) drawn.get(target as HTMLElement)?.chart.setSize({ width, height: HEIGHT });
  }
});

type Colours = Record<'completed' | 'failed' | 'grid' | 'text', string>;

function coloursOf(element: HTMLElement): Colours {
  // A custom property keeps `light-dark()` as it is written: a colour that is applied is what it comes to.
  const probe = document.createElement('span');
  element.append(probe);
  const of = (name: string) => {
    probe.className = `ink-${name}`;
    return getComputedStyle(probe).color;
  };
  const colours = { completed: of('completed'), failed: of('failed'), grid: of('grid'), text: of('text') };
  probe.remove();
  return colours;
}

const faint = (colour: string): string => colour.replace(/^rgb\((.*)\)$/, 'rgba($1, 0.12)');

function options(element: HTMLElement, colours: Colours): Chart.Options {
  const axis = { stroke: colours.text, grid: { stroke: colours.grid, width: 1 }, ticks: { show: false } };
  const font = '12px system-ui, sans-serif';
  const line = (label: string, colour: string) => ({
    label,
    stroke: colour,
    fill: faint(colour),
    width: 1.5,
    points: { show: false },
    value: (_: unknown, value: number | null) => (value === null ? '–' : value.toLocaleString('en')),
  });
  return {
    width: element.clientWidth || 600,
    height: HEIGHT,
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.1, 4)] } },
    axes: [
      {
        ...axis,
        font,
        grid: { show: false },
        space: 70,
        size: 28,
        values: (_, ticks) => ticks.map((at) => clock(at)),
      },
      { ...axis, font, size: 44, space: 36, values: (_, ticks) => ticks.map((n) => (n % 1 ? '' : short(n))) },
    ],
    series: [
      { label: 'Minute', value: (_, at) => (at === null ? '–' : clock(at)) },
      line('Completed', colours.completed),
      line('Failed', colours.failed),
    ],
  };
}

const clock = (seconds: number): string =>
  new Date(seconds * 1_000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });

const COMPACT = new Intl.NumberFormat('en', { notation: 'compact' });
const short = (n: number): string => COMPACT.format(n);
