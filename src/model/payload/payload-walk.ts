import { InvalidPayloadError } from '../errors.js';
import { isStorable } from '../text.js';

/** Deeper values are refused: recursion over them must fit on any stack, ours, Postgres' and every reader's. */
export const MAX_DEPTH = 500;

/** The state of one walk. `trail[0..depth)` are the keys from the root to the current value. */
interface Walk {
  readonly root: unknown;
  readonly path: string;
  readonly maxBytes: number;
  /** Lower bound of the bytes that are still allowed; stops a small graph that unfolds into a huge tree. */
  budget: number;
  readonly checkText: boolean;
  readonly trail: (string | number)[];
  depth: number;
}

/**
 * Finds what JSON would change or drop silently. Allocates hardly anything for a good value, and checks strings only with
 * `checkText`: on the hot path, one search in the JSON text decides whether that is needed.
 *
 * @throws InvalidPayloadError with the path of the first such value
 */
export function checkPayload(value: unknown, path: string, maxBytes: number, checkText: boolean): void {
  const walk: Walk = { root: value, path, maxBytes, budget: maxBytes, checkText, trail: [], depth: 0 };
  try {
    visit(walk, value, '', 0);
  } catch (error) {
    if (error instanceof InvalidPayloadError) throw error;
    fail(walk, 'cannot be read: a getter, a toJSON or a proxy threw');
  }
}

/** @returns false for undefined, which an object drops and an array must not contain */
function visit(walk: Walk, value: unknown, key: string | number, depth: number): boolean {
  switch (typeof value) {
    case 'string':
      if (walk.checkText && !isStorable(value))
        fail(walk, 'contains U+0000 or a lone surrogate, which jsonb cannot hold');
      spend(walk, value.length + 2);
      return true;
    case 'number':
      if (!Number.isFinite(value)) fail(walk, `is ${value}, which JSON cannot hold`);
      spend(walk, 1);
      return true;
    case 'boolean':
      spend(walk, 4);
      return true;
    case 'undefined':
      return false;
    case 'object':
      if (value === null) {
        spend(walk, 4);
        return true;
      }
      return visitObject(walk, value, key, depth + 1);
    default:
      return fail(walk, `is a ${typeof value}, which JSON cannot hold`);
  }
}

function visitObject(walk: Walk, object: { toJSON?: unknown }, key: string | number, depth: number): boolean {
  if (depth > MAX_DEPTH) fail(walk, `is nested more than ${MAX_DEPTH} levels deep`);
  if (typeof object.toJSON === 'function') {
    const json: unknown = object.toJSON(String(key));
    if (json === null && kindOf(object) === 'Date') fail(walk, 'is an invalid Date');
    // JSON calls toJSON once: of an object that it returns, only the fields count.
    if (typeof json !== 'object' || json === null) return visit(walk, json, key, depth);
    return visitFields(walk, json, depth);
  }
  return visitFields(walk, object, depth);
}

function visitFields(walk: Walk, object: object, depth: number): true {
  spend(walk, 2);
  if (Array.isArray(object)) {
    for (let i = 0; i < object.length; i++) {
      walk.trail[depth - 1] = i;
      walk.depth = depth;
      if (!visit(walk, object[i], i, depth)) fail(walk, 'is undefined; an array in JSON cannot hold that, use null');
    }
    return true;
  }
  const prototype = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null) refuseExotic(walk, object);
  // for-in, because it needs no array of keys; fields of a prototype are skipped.
  for (const key in object) {
    if (!Object.hasOwn(object, key)) continue;
    walk.trail[depth - 1] = key;
    walk.depth = depth;
    if (walk.checkText && !isStorable(key)) fail(walk, 'has U+0000 or a lone surrogate in its name');
    if (visit(walk, (object as Record<string, unknown>)[key], key, depth)) spend(walk, key.length + 3);
  }
  return true;
}

/** Map, Set, Error, RegExp, Promise, typed arrays, boxed primitives: JSON makes `{}` or something else of them. */
function refuseExotic(walk: Walk, object: object): void {
  const kind = kindOf(object);
  if (kind === 'Object') return;
  fail(walk, `is an object of the kind ${kind}, which JSON cannot hold; convert it first, or give it a toJSON method`);
}

/** `Map` of `[object Map]`: unlike instanceof, it also knows the objects of another realm. */
function kindOf(object: object): string {
  return Object.prototype.toString.call(object).slice(8, -1);
}

function spend(walk: Walk, bytes: number): void {
  walk.budget -= bytes;
  if (walk.budget >= 0) return;
  refuseCycle(walk);
  throw tooLarge(walk.path, walk.maxBytes, walk.maxBytes - walk.budget, 'at least ');
}

/** @param qualifier what precedes the size where it is not known exactly */
export function tooLarge(path: string, maxBytes: number, bytes: number, qualifier = ''): InvalidPayloadError {
  return new InvalidPayloadError(
    path,
    `is too large: its JSON takes ${qualifier}${bytes} bytes, maxPayloadBytes allows ${maxBytes}`,
  );
}

function fail(walk: Walk, problem: string): never {
  refuseCycle(walk);
  throw new InvalidPayloadError(pathOf(walk, walk.depth), problem);
}

/** A cycle shows as too deep or too large. The way down from the root then meets one object twice. */
function refuseCycle(walk: Walk): void {
  const seen = new Set<unknown>();
  let at: unknown = walk.root;
  for (let depth = 0; depth <= walk.depth && typeof at === 'object' && at !== null; depth++) {
    if (seen.has(at)) throw new InvalidPayloadError(pathOf(walk, depth), 'refers back to an object that contains it');
    seen.add(at);
    try {
      const { toJSON } = at as { toJSON?: unknown };
      const fields: unknown = typeof toJSON === 'function' ? toJSON.call(at, '') : at;
      at = (fields as Record<string | number, unknown>)[walk.trail[depth]!];
    } catch {
      return;
    }
  }
}

function pathOf(walk: Walk, depth: number): string {
  let path = walk.path;
  for (const key of walk.trail.slice(0, depth)) {
    if (typeof key === 'number') path += `[${key}]`;
    else path += /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
  }
  return path.length <= 300 ? path : `${path.slice(0, 200)}…${path.slice(-99)}`.toWellFormed();
}
