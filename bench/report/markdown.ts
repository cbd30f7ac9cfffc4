/** A table of Markdown; cells that are undefined become a dash. */
export function table(
  head: readonly string[],
  rows: readonly (readonly (string | undefined)[])[],
  align = '-:',
): string {
  const line = (cells: readonly (string | undefined)[]) => `| ${cells.map((cell) => cell ?? '–').join(' | ')} |`;
  return [line(head), `|---|${`${align}|`.repeat(head.length - 1)}`, ...rows.map(line)].join('\n');
}

/** Three significant digits, thousands with commas. */
export function number(value: number | undefined): string | undefined {
  if (value === undefined) return undefined;
  const rounded = Number(value.toPrecision(3));
  return rounded.toLocaleString('en-US', { maximumFractionDigits: 6 });
}

const begin = (name: string) => `<!-- ${name}:begin -->`;
const end = (name: string) => `<!-- ${name}:end -->`;

/** What stands between two markers, or undefined where there are none. */
export function between(text: string, name: string): string | undefined {
  const [, rest] = text.split(begin(name));
  return rest?.split(end(name))[0]?.trim();
}

export const marked = (name: string, text: string): string => `${begin(name)}\n${text}\n${end(name)}`;

/** Replaces what stands between two markers; without markers the text stays as it is. */
export function replaceBetween(text: string, name: string, by: string): string {
  const [head, rest] = text.split(begin(name));
  const tail = rest?.split(end(name))[1];
  return tail === undefined ? text : `${head}${begin(name)}\n${by}\n${end(name)}${tail}`;
}
