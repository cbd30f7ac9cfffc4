/**
 * Prints a statement as it is sent, formatted:
 *
 *   npm run sql                     the names of all statements, with their parameters
 *   npm run sql -- promote due      one of them
 */
import { compile } from '../src/db/statement.js';
import { tablesIn } from '../src/db/tables.js';
import { formatted, loadStatements, numbered, statementNamed, variantsOf } from './statements.js';

const name = process.argv.slice(2).join(' ');
const statements = await loadStatements();
if (name === '') list();
else {
  try {
    show();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}

function list(): void {
  const all = [...statements.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const statement of all) console.log(`${statement.name} (${statement.params.join(', ')})`);
}

function show(): void {
  const statement = statementNamed(name, statements);
  const compiled = compile(statement, tablesIn(undefined));
  console.log(`-- ${numbered(compiled, statement).join(', ') || 'no parameters'}`);
  const variants = variantsOf(name, statements);
  if (variants.length > 0) console.log(`-- variants: ${variants.join(' · ')}`);
  console.log(`${formatted(compiled)};`);
}
