/** What `npm run sql` and `npm run explain` show. */
import { sql } from 'drizzle-orm';
import { beforeAll, expect, test } from 'vitest';
import { genericPlan } from '../../scripts/generic-plan.js';
import { fillTables } from '../../scripts/sample-rows.js';
import { formatted, loadStatements, numbered, type Statements, statementNamed } from '../../scripts/statements.js';
import { allStatements, compile, type Statement } from '../../src/db/statement.js';
import { tablesIn } from '../../src/db/tables.js';
import { useDatabase } from '../support/database.js';

/** There are many statements, and some are long. */
const PATIENCE = { timeout: 120_000 };

const database = useDatabase();
let statements: Statements;

beforeAll(async () => {
  statements = await loadStatements();
});

test('every statement has a name of its own', () => {
  const names = allStatements().map(({ name }) => name);
  expect(names.length).toBeGreaterThan(100);
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
});

test('formatting changes nothing but white space', PATIENCE, () => {
  const dense = (text: string) => text.replace(/\s+/g, '');
  for (const statement of statements.values()) {
    const compiled = compile(statement, tablesIn(undefined));
    expect(dense(formatted(compiled)), statement.name).toBe(dense(compiled.text));
  }
});

test('the numbers of a text are told by the names of its parameters', () => {
  const statement: Statement<'queue' | 'limit'> = {
    name: 'sample',
    params: ['queue', 'limit'],
    repeatable: true,
    build: (_, p) => sql`select ${p.limit}, ${p.queue}, ${p.limit}`,
  };
  expect(numbered(compile(statement, tablesIn(undefined)), statement)).toEqual(['$1 limit', '$2 queue']);
});

test('a name that there is not is answered with what may have been meant', () => {
  expect(() => statementNamed('promote du', statements)).toThrow('Did you mean "promote due"?');
  expect(() => statementNamed('clean', statements)).toThrow('Did you mean "clean waiting", ');
  expect(() => statementNamed('a name like no other', statements)).toThrow(/no other"\. "npm run sql" lists/);
});

test('every statement has a plan for any parameters, on tables with jobs in all states', PATIENCE, async () => {
  await fillTables(database.sql, 5_000);
  const states = await database.sql`select distinct state from conveyor_jobs`;
  expect(states).toHaveLength(6);
  const unplanned: string[] = [];
  for (const statement of statements.values()) {
    await genericPlan(database.sql, statement).catch((error: Error) => {
      unplanned.push(`${statement.name}: ${error.message}`);
    });
  }
  expect(unplanned).toEqual(['truncate all: "truncate all" has no plan: the server runs truncate without one.']);
  expect(await genericPlan(database.sql, statementNamed('promote due', statements))).toContain(
    'Index Scan using conveyor_jobs_delayed_idx',
  );
});
