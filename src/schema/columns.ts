import { sql } from 'drizzle-orm';
import { customType } from 'drizzle-orm/pg-core';

/**
 * A jsonb column whose values come back exactly as they went in. Drizzle's own `jsonb()` parses strings a second
 * time (the string "10.5" becomes a number) and double-encodes with some drivers; binding the JSON text and casting
 * it twice avoids both.
 */
export const json = customType<{ data: unknown; driverData: unknown }>({
  dataType: () => 'jsonb',
  toDriver: (value) => sql`${JSON.stringify(value)}::text::jsonb`,
});

/**
 * timestamptz as a `Date`, whichever driver reads it: some hand out a Date, some the text. No precision is declared,
 * because drizzle-kit's majors print one differently.
 */
export const instant = customType<{ data: Date; driverData: unknown }>({
  dataType: () => 'timestamp with time zone',
  toDriver: (value) => value.toISOString(),
  fromDriver: (value) => (value instanceof Date ? value : new Date(String(value))),
});

/** A 64-bit integer as a JavaScript number: exact up to 2^53, far beyond any row or millisecond count here. */
export const int64 = customType<{ data: number; driverData: unknown }>({
  dataType: () => 'bigint',
  toDriver: (value) => String(value),
  fromDriver: (value) => Number(value),
});
