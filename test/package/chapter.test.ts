/** docs/drizzle.md, followed literally in an empty folder: its files are written, its commands are run, in its order. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { dependencies, MAJORS, run, tarball } from '../support/scratch.js';

const root = resolve(import.meta.dirname, '../..');
const chapter = readFileSync(join(root, 'docs/drizzle.md'), 'utf8');
const ORDER = '{"sentTo":"ada@example.com"}';

/** The chapter as a shell script: a block of code that names its file is that file, a block of sh is what it says. */
function asScript(): string {
  return [...chapter.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
    .map(([, language, text = '']) => {
      if (language === 'sh') return text;
      const [, file] = /^\/\/ (\S+\.ts)\n/.exec(text) ?? [];
      return file ? `mkdir -p "$(dirname ${file})" && cat > ${file} <<'CODE'\n${text}CODE\n` : '';
    })
    .join('\n');
}

/** Instead of the published packages, those at hand. */
const prelude = (packages: Record<string, string>) => `
set -eum
# What runs in the background is a process group of its own.
trap 'for job in $(jobs -p); do kill -TERM -- "-$job"; done; wait' EXIT
npm() {
  local args=() arg
  for arg in "$@"; do
    case "$arg" in
      ${Object.entries(packages)
        .map(
          ([name, version]) =>
            `${name}) args+=('${version.startsWith('file:') ? version.slice(5) : `${name}@${version}`}') ;;`,
        )
        .join('\n      ')}
      *) args+=("$arg") ;;
    esac
  done
  command npm "\${args[@]}" --no-audit --no-fund --loglevel=error --prefer-offline
}
`;

describe.each(MAJORS)('with drizzle-orm %s', (major) => {
  const database = useDatabase({ empty: true });

  test('the chapter leads from an empty folder to an app that works', { timeout: 240_000 }, async () => {
    const folder = mkdtempSync(join(inject('scratch'), 'chapter-'));
    const packages = dependencies(major, await tarball());
    const script = join(inject('scratch'), `chapter-${major}.sh`);
    writeFileSync(script, prelude(packages) + asScript());
    const { stdout } = await run('bash', [script], { cwd: folder, env: { DATABASE_URL: database.url } });
    expect(stdout).toContain("{ sentTo: 'ada@example.com' }");
    expect(stdout).toMatch(/order 1: \d{4}-\d\d-\d\dT/);
    expect(await database.sql`select order_id, sent_to from receipts`).toEqual([
      { order_id: 1, sent_to: 'ada@example.com' },
    ]);
    expect(await database.sql`select name, state, returnvalue::text from conveyor_jobs`).toEqual([
      { name: 'receipt', state: 'completed', returnvalue: ORDER.replace(':', ': ') },
    ]);

    // It also compiles.
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const flags =
      '--noEmit --strict --noUncheckedIndexedAccess --skipLibCheck --module nodenext --target es2023 --types node';
    await run(
      process.execPath,
      [tsc, ...flags.split(' '), ...['db', 'worker', 'place-order', 'report'].map((file) => `src/${file}.ts`)],
      { cwd: folder },
    );
  });
});
