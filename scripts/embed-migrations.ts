/** Writes the SQL of drizzle/ as a module, so that our own migrator keeps it wherever a bundler puts the code. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

const folder = resolve(import.meta.dirname, '../drizzle');
const migrations = readdirSync(folder)
  .filter((file) => file.endsWith('.sql'))
  .sort()
  .map((file, i) => ({
    version: i + 1,
    name: file.replace(/\.sql$/, ''),
    statements: readFileSync(resolve(folder, file), 'utf8')
      .split('--> statement-breakpoint')
      .map((statement) => statement.trim().replace(/;$/, ''))
      .filter(Boolean),
  }));

writeFileSync(
  resolve(import.meta.dirname, '../src/migrations/generated.ts'),
  `// Generated from drizzle/ by "npm run generate": do not edit.
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly statements: readonly string[];
}

export const MIGRATIONS: readonly Migration[] = ${JSON.stringify(migrations, null, 2)};
`,
);
