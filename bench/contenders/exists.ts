import postgres from 'postgres';

/**
 * A function that tells whether a table has rows of any of these kinds, each an SQL condition that an index serves. It
 * is called while jobs run, on a connection that is opened at the first call, so it must not cost the server more for
 * one contender than for another.
 */
export function existsIn(url: string, table: string, ...conditions: string[]): () => Promise<boolean> {
  const sql = postgres(url, { max: 1, onnotice() {} });
  const parts = conditions.map((condition) => `exists (select from ${table} where ${condition})`);
  const text = `select ${parts.join(' or ')} as some`;
  return async () => {
    const [row] = await sql.unsafe<{ some: boolean }[]>(text, [], { prepare: true });
    return row?.some ?? false;
  };
}
