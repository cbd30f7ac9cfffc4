/** A field of anything that was thrown; undefined as well when reading it throws. */
export function readField(thrown: unknown, name: string): unknown {
  if ((typeof thrown !== 'object' && typeof thrown !== 'function') || thrown === null) return undefined;
  try {
    return (thrown as Record<string, unknown>)[name];
  } catch {
    return undefined;
  }
}

/** A field that is a text with something in it. */
export function fieldOf(thrown: unknown, name: string): string | undefined {
  const value = readField(thrown, name);
  return typeof value === 'string' && value !== '' ? value : undefined;
}
