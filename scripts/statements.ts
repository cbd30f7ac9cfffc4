/** The statements of the store by name, for the scripts that show them. */
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { format } from 'sql-formatter';
import { allStatements, type Compiled, type Statement } from '../src/db/statement.js';
import { nearest } from '../src/model/options/did-you-mean.js';

const source = resolve(import.meta.dirname, '../src');
/** The rooms of src/ in which statements are declared. */
const ROOMS = ['migrations', 'store', 'core', 'dashboard/queries'];
const MAX_HINTS = 6;

export type Statements = ReadonlyMap<string, Statement<string>>;

/** Loads every module that may declare a statement: declaring registers it. */
export async function loadStatements(): Promise<Statements> {
  for (const room of ROOMS) {
    for (const file of readdirSync(join(source, room), { recursive: true, encoding: 'utf8' })) {
      if (file.endsWith('.ts')) await import(pathToFileURL(join(source, room, file)).href);
    }
  }
  return new Map(allStatements().map((statement) => [statement.name, statement]));
}

/** The statement of this name. Throws an error with names that may have been meant. */
export function statementNamed(name: string, statements: Statements): Statement<string> {
  const found = statements.get(name);
  if (found) return found;
  const names = [...statements.keys()];
  const near = nearest(name, names) ?? names.find((known) => known.includes(name));
  const longer = variantsOf(name, statements);
  const meant = longer.length > 0 ? longer.slice(0, MAX_HINTS) : near === undefined ? [] : [near];
  const hint = meant.length === 0 ? '' : ` Did you mean ${meant.map((known) => `"${known}"`).join(', ')}?`;
  throw new RangeError(`No statement is named "${name}".${hint} "npm run sql" lists all names.`);
}

/** The names that begin with this one: its variants have its name and a few words more. */
export function variantsOf(name: string, statements: Statements): string[] {
  return [...statements.keys()].filter(
    (known) => known !== name && /^[ ,]/.test(known.slice(name.length)) && known.startsWith(name),
  );
}

/** The compiled text with line breaks and indentation. Nothing but white space differs. */
export function formatted({ text }: Compiled<string>): string {
  return format(text, { language: 'postgresql', expressionWidth: 100 });
}

/** What each number in the text stands for: `['$1 queue', '$2 limit']`. */
export function numbered(compiled: Compiled<string>, { params }: Statement<string>): string[] {
  const names = Object.fromEntries(params.map((param) => [param, param]));
  return compiled.bind(names).map((param, i) => `$${i + 1} ${param}`);
}
