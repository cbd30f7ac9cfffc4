/**
 * Values as one parameter: the text of a Postgres array, for `$1::text::text[]`. An array parameter would leave its
 * element type to the driver.
 */
export function arrayText(values: readonly (string | number | null | undefined)[]): string {
  let text = '';
  for (const value of values) text += `,${elementText(value)}`;
  return `{${text.slice(1)}}`;
}

function elementText(value: string | number | null | undefined): string | number {
  if (value === null || value === undefined) return 'NULL';
  return typeof value === 'number' ? value : quoted(value);
}

const SPECIAL = /["\\]/g;

const quoted = (value: string) =>
  `"${value.includes('"') || value.includes('\\') ? value.replace(SPECIAL, '\\$&') : value}"`;

/** The same; empty where no value is given, which most batches have: `unnest` then gives null for each row. */
export function sparseArrayText(values: readonly (string | number | undefined)[]): string {
  return values.every((value) => value === undefined) ? '{}' : arrayText(values);
}
