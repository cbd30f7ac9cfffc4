import { isQueryWrapper, sqlStateOf, withoutParams } from '../query-errors.js';
import { fieldOf, readField } from '../read-field.js';
import { errorText } from './error-text.js';

const MAX_CAUSES = 20;

/**
 * For a logger: consoles print every field of an error and of its causes. An error of a query is replaced by one of the
 * same class, name and code, whose message and stack have no parameters; anything else is returned as it is.
 */
export function withoutParameters(value: unknown): unknown {
  try {
    if (fieldOf(value, 'stack') === undefined || !concernsQuery(value)) return value;
    const { message, stack } = errorText(value);
    const hidden = { message, name: fieldOf(value, 'name'), stack: stack ?? message };
    const copy = Object.create(Object.getPrototypeOf(value), describing(hidden, false));
    return Object.defineProperties(copy, describing({ code: fieldOf(value, 'code') }, true));
  } catch {
    return '[an error that cannot be read]';
  }
}

/** An error of the driver or the ORM is among the causes. */
function concernsQuery(error: unknown): boolean {
  let current = error;
  for (let depth = 0; depth < MAX_CAUSES && current !== undefined; depth++) {
    const errors = readField(current, 'errors');
    if ([current, ...(Array.isArray(errors) ? errors : [])].some(isOfQuery)) return true;
    current = readField(current, 'cause');
  }
  return false;
}

function isOfQuery(error: unknown): boolean {
  if (sqlStateOf(error) !== undefined || isQueryWrapper(error)) return true;
  const message = fieldOf(error, 'message');
  return message !== undefined && withoutParams(message) !== message;
}

function describing(fields: Record<string, string | undefined>, enumerable: boolean): PropertyDescriptorMap {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    given.map(([name, value]) => [name, { value, enumerable, writable: true, configurable: true }]),
  );
}
