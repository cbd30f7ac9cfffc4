import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sql } from 'drizzle-orm';
import { PgDialect } from 'drizzle-orm/pg-core';
import { describe, expect, it } from 'vitest';
import { cte } from '../../src/db/cte.js';
import { allStatements, bound, compile, OPTIONAL, statement, variants } from '../../src/db/statement.js';
import { alias, literal, tablesIn } from '../../src/db/tables.js';

const src = fileURLToPath(new URL('../../src', import.meta.url));
const tables = tablesIn(undefined);
const dialect = new PgDialect();

describe('a statement', () => {
  const twice = statement(
    'twice',
    ['unused', 'one', 'two'],
    (_db, p) => sql`select ${p.two}, ${p.one}, ${p.two}, ${literal("it's")}`,
  );

  it('says its name in its text, and sends each value once', () => {
    const { text, bind } = compile(twice, tables);
    expect(text).toBe("/* conveyor: twice */ select $1::text, $2::text, $1::text, 'it''s'");
    expect(bind({ unused: 0, one: 1, two: 'x' })).toEqual(['x', '1']);
  });

  it('is the same text through Drizzle', () => {
    const compiled = compile(twice, tables);
    const query = dialect.sqlToQuery(bound(compiled, { unused: null, one: null, two: 2 }));
    expect(query.sql).toBe(compiled.text);
    expect(query.params).toEqual(['2', null]);
  });

  it('refuses a bare JavaScript value', () => {
    const bare = statement('bare', [], () => sql`select ${'constant'}`);
    expect(() => compile(bare, tables)).toThrow('Statement "bare" holds the bare value "constant": use literal()');
  });
});

describe('variants', () => {
  it('are built once each', () => {
    let built = 0;
    const variant = variants({ lifo: OPTIONAL }, ({ lifo }, declare) => {
      built++;
      return declare(`variant ${lifo}`, [], () => sql`select 1`);
    });
    expect(variant({ lifo: true })).toBe(variant({ lifo: true }));
    expect(variant({ lifo: false })).not.toBe(variant({ lifo: true }));
    expect(built).toBe(2);
  });
});

it('a CTE has the columns that it declares', () => {
  const input = cte('input', ['queueName', 'id']);
  const query = sql`with ${input.as(sql`select 1, 2`)} select ${input.queueName}, ${input.of('i').id} from ${input.table}`;
  expect(dialect.sqlToQuery(query).sql).toBe(
    'with "input" ("queue_name", "id") as materialized (select 1, 2) select "input"."queue_name", "i"."id" from "input"',
  );
});

it.each([undefined, 'public', 'apart'])('in schema %s tables and sequence are both qualified or both not', (schema) => {
  const db = tablesIn(schema);
  const j = alias(db.jobs, 'j');
  const text = dialect.sqlToQuery(sql`select ${db.nextSeq}, ${j.id} from ${db.jobs} as ${j}`).sql;
  const prefix = schema === undefined ? '' : `"${schema}".`;
  expect(text).toBe(
    `select nextval('${prefix}"conveyor_jobs_seq_seq"'::regclass), "j"."id" from ${prefix}"conveyor_jobs" as "j"`,
  );
});

describe('every statement of the package', async () => {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  for (const file of files.filter((name) => /^(store|migrations)\//.test(name))) await import(join(src, file));
  const texts = allStatements().map((each) => ({ name: each.name, compiled: compile(each, tables) }));

  it('has a name of its own', () => {
    const names = texts.map(({ name }) => name);
    expect(names.length).toBeGreaterThan(100);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  });

  it('sends no value twice', () => {
    for (const { name, compiled } of texts) {
      const sent = compiled.chunks.length - 1;
      const numbers = new Set([...compiled.text.matchAll(/\$(\d+)/g)].map(([, number]) => Number(number)));
      expect(numbers.size, name).toBe(sent);
    }
  });

  it('goes through a tag: nothing in src builds SQL by unsafe()', () => {
    const unsafe = files.filter((file) => /\bunsafe\b/.test(readFileSync(join(src, file), 'utf8')));
    expect(unsafe).toEqual([]);
  });
});
