import type { Migration } from './generated.js';

/**
 * For each migration, the least number of migrations that code must know to work on a database that has it. Its own
 * number where it breaks all older code (a column renamed, an index replaced); a lower one where it only adds what
 * older code does not mention.
 */
export const WORKS_SINCE: Readonly<Record<string, number>> = {
  '0000_init': 1,
  '0001_started_lease': 1,
  '0002_schedules': 1,
};

/** In `conveyor_migrations`, after the name of a migration that does not break older code. */
const SUFFIX = / \(works since (\d+)\)/;

/** How the migration is recorded, so that older code learns whether it may go on. */
export function recordedName({ version, name }: Migration): string {
  const since = WORKS_SINCE[name] ?? version;
  return since < version ? `${name} (works since ${since})` : name;
}

/** Of a record, also of a migration that this code does not know. */
export function worksSince(version: number, recorded: string): number {
  const [, since] = SUFFIX.exec(recorded) ?? [];
  return since === undefined ? version : Number(since);
}
