/**
 * A deep copy of lists, plain objects and dates. Anything else, such as an object of a class that a schema has made, is
 * the same in the copy.
 */
export function copyOf<T>(value: T): T {
  return copy(value) as T;
}

function copy(value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(copy);
  if (value instanceof Date) return new Date(value);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  // Unlike an assignment, this makes a field named __proto__ a field like any other.
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, copy(field)]));
}
