/**
 * Values as one parameter: the text of a Postgres array, for `$1::text::text[]`. An array parameter would leave its
 * element type to the driver.
 */
export function arrayText(values: readonly (string | number | null | undefined)[]): string {
  let text = '{';
  for (const [i, value] of values.entries()) {
    if (i > 0) text += ',';
    if (value === null || value === undefined) text += 'NULL';
    else if (typeof value === 'number') text += value;
    else text += quoted(value);
  }
  return `${text}}`;
}

const SPECIAL = /["\\]/g;

const quoted = (value: string) =>
  `"${value.includes('"') || value.includes('\\') ? value.replace(SPECIAL, '\\$&') : value}"`;

/** The same; empty where no value is given, which most batches have: `unnest` then gives null for each row. */
export function sparseArrayText(values: readonly (string | number | undefined)[]): string {
  return values.every((value) => value === undefined) ? '{}' : arrayText(values);
}
