import { show } from '../text.js';
import { nearest } from './did-you-mean.js';

/**
 * The fields of an options object that are not undefined. Unknown names are refused: a misspelt option that is ignored
 * silently could cost a job its retries.
 *
 * @param name what the errors call the object, such as `opts.repeat`
 * @throws TypeError for anything but an object, and for unknown names
 */
export function readOptions(value: unknown, name: string, known: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${name} is ${show(value)}; it must be an object with options of these: ${known.join(', ')}.`);
  }
  const fields: Record<string, unknown> = Object.create(null);
  for (const [key, field] of Object.entries(value)) {
    if (!known.includes(key)) throw new TypeError(unknownOption(key, name, known));
    if (field !== undefined) fields[key] = field;
  }
  return fields;
}

function unknownOption(key: string, name: string, known: readonly string[]): string {
  const guess = nearest(key, known);
  const hint = guess === undefined ? '' : ` Did you mean ${guess}?`;
  return `${name} has no option ${show(key)}.${hint} Known options: ${known.join(', ')}.`;
}
