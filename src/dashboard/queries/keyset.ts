import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';

/** Where a page ends: what it is ordered by, as text, then the place in line. */
export interface Place {
  readonly at: string;
  readonly seq: string;
}

/** A time as text that gives back exactly that time, whatever the settings of the session. */
export const exactTime = (time: SQLWrapper): SQL =>
  sql`case when isfinite(${time}) then to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    else (${time})::text end`;

const SEQ = /^-?\d{1,18}$/;
const TIME = /^(\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z|-?infinity)$/;
const PRIORITY = /^-?\d{1,10}$/;

/** What stands in an address, as a place; null for anything else. */
export function placeIn(text: string | undefined, at: 'time' | 'priority'): Place | null {
  const [first = '', seq = '', more] = (text ?? '').split('~');
  const isValid = (at === 'time' ? TIME : PRIORITY).test(first) && SEQ.test(seq) && more === undefined;
  return isValid ? { at: first, seq } : null;
}

export const placeText = ({ at, seq }: Place): string => `${at}~${seq}`;
