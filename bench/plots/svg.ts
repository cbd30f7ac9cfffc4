import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import { CONTENDERS } from '../contenders/index.js';

const COLOURS: Readonly<Record<string, string>> = {
  conveyor: '#d55e00',
  'graphile-tuned': '#0072b2',
  graphile: '#7fb8de',
  'pg-boss': '#009e73',
  'bullmq-pg': '#aa4499',
  'bullmq-redis': '#ddaa00',
  'bullmq-redis-durable': '#8c6d1f',
  floor: '#999999',
};

export const labelOf = (contender: string): string => CONTENDERS[contender]?.label ?? contender;

/** A colour for each contender, the same in all plots, in the order of the registry. */
export function colours(contenders: readonly string[]) {
  const present = Object.keys(CONTENDERS).filter((name) => contenders.includes(name));
  return { domain: present.map(labelOf), range: present.map((name) => COLOURS[name] ?? '#000000') };
}

/** Thousands as k, for the labels of an axis. */
export const THOUSANDS = "datum.value >= 1000 ? format(datum.value / 1000, '~r') + 'k' : format(datum.value, '~r')";

/** Renders a plot, with a background of its own, so that it can be read on a light and on a dark page. */
export function render(spec: Omit<TopLevelSpec, '$schema'>): Promise<string> {
  const styled = {
    ...spec,
    background: '#ffffff',
    padding: 16,
    config: {
      font: 'Helvetica, Arial, sans-serif',
      view: { stroke: null },
      title: {
        fontSize: 15,
        anchor: 'start',
        subtitleFontSize: 12,
        subtitleColor: '#555555',
        subtitlePadding: 4,
        offset: 14,
      },
      axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: 'normal', gridColor: '#e6e6e6', domain: false },
      header: { title: null, labelFontSize: 13, labelFontWeight: 'bold', labelAnchor: 'start' },
      legend: { title: null, labelFontSize: 12, labelLimit: 220 },
    },
  };
  return new View(parse(compile(styled as unknown as TopLevelSpec).spec), { renderer: 'none' }).toSVG();
}
