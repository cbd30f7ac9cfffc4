import { messageOf, readChain } from '../error-chain.js';
import { constraintOf, isQueryWrapper, sqlStateOf } from '../query-errors.js';
import { cleanText } from '../text.js';
import { MAX_DEPTH } from './payload-walk.js';

/** Thrown when a copy has outgrown its budget, by so many bytes or more. */
export class TooLarge extends Error {
  readonly excess: number;

  constructor(excess: number) {
    super();
    this.excess = excess;
  }
}

interface Copy {
  /** Lower bound of the bytes that are still allowed. */
  budget: number;
  /** The objects that contain the current one. */
  readonly ancestors: Set<object>;
}

/**
 * A copy that consists of nothing but what JSON and jsonb can hold: no getters, no toJSON, no prototypes.
 * Undefined means that there is nothing to keep.
 *
 * @throws TooLarge, and nothing that the value's own code throws
 */
export function lenientCopy(value: unknown, maxBytes: number): unknown {
  return copyValue({ budget: maxBytes, ancestors: new Set() }, value, '', true);
}

function copyValue(copy: Copy, value: unknown, key: string, mayConvert: boolean): unknown {
  switch (typeof value) {
    case 'string': {
      const text = cleanText(value);
      spend(copy, text.length + 2);
      return text;
    }
    case 'number':
      spend(copy, 1);
      return Number.isFinite(value) ? value : null;
    case 'boolean':
      spend(copy, 4);
      return value;
    case 'bigint':
      return copyValue(copy, String(value), key, false);
    case 'object':
      spend(copy, 2);
      return value === null ? null : copyObject(copy, value, key, mayConvert);
    default:
      return undefined;
  }
}

function copyObject(copy: Copy, object: object, key: string, mayConvert: boolean): unknown {
  if (copy.ancestors.has(object)) return '[Circular]';
  if (copy.ancestors.size >= MAX_DEPTH) return '[Too deep]';
  copy.ancestors.add(object);
  try {
    const json = mayConvert ? convert(object, key) : object;
    // What toJSON returned is not converted again, and is not its own ancestor when it is the same object.
    return json === object ? copyFields(copy, object) : copyValue(copy, json, key, false);
  } catch (error) {
    if (error instanceof TooLarge) throw error;
    return '[Unserializable]';
  } finally {
    copy.ancestors.delete(object);
  }
}

/** What JSON would take instead of the object, and, where JSON would lose all of it, something that says more. */
function convert(object: { toJSON?: unknown }, key: string): unknown {
  if (typeof object.toJSON === 'function') return object.toJSON(key);
  if (object instanceof Error) return convertError(object);
  if (object instanceof Map) return [...object];
  if (object instanceof Set) return [...object];
  if (object instanceof Number || object instanceof String || object instanceof Boolean) return object.valueOf();
  return object;
}

/** Of an error of a query neither its parameters nor the rows that the server's `detail` repeats. */
function convertError(error: Error): object {
  const { name } = error;
  const message = messageOf(readChain(error));
  const code = sqlStateOf(error);
  if (code !== undefined) return { name, message, code, constraint: constraintOf(error) };
  return isQueryWrapper(error) ? { name, message } : { ...error, name, message };
}

function copyFields(copy: Copy, object: object): unknown {
  if (Array.isArray(object)) {
    const items: unknown[] = [];
    for (let i = 0; i < object.length; i++) {
      spend(copy, 1);
      items.push(copyField(copy, object, i) ?? null);
    }
    return items;
  }
  // Without a prototype, so that a field named __proto__ is a field like any other.
  const fields: Record<string, unknown> = Object.create(null);
  for (const key of Object.keys(object)) {
    const value = copyField(copy, object, key);
    if (value === undefined) continue;
    spend(copy, key.length + 3);
    fields[cleanText(key)] = value;
  }
  return fields;
}

function copyField(copy: Copy, object: object, key: string | number): unknown {
  let value: unknown;
  try {
    value = (object as Record<string | number, unknown>)[key];
  } catch {
    return '[Unserializable]';
  }
  return copyValue(copy, value, String(key), true);
}

function spend(copy: Copy, bytes: number): void {
  copy.budget -= bytes;
  if (copy.budget < 0) throw new TooLarge(-copy.budget);
}
