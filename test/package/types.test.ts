/** What a consumer's compiler says of the packed package. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { MAJORS, run, scratchApp } from '../support/scratch.js';

const root = resolve(import.meta.dirname, '../..');
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const fixture = (name: string) => readFileSync(join(import.meta.dirname, 'fixtures', name), 'utf8');

const STRICT = {
  target: 'es2023',
  types: ['node'],
  noEmit: true,
  strict: true,
  skipLibCheck: false,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noPropertyAccessFromIndexSignature: true,
  noImplicitOverride: true,
  noImplicitReturns: true,
  noUnusedLocals: true,
  noUnusedParameters: true,
  noUncheckedSideEffectImports: true,
  verbatimModuleSyntax: true,
  isolatedModules: true,
  erasableSyntaxOnly: true,
  allowUnreachableCode: false,
};
const RESOLUTIONS = {
  nodenext: { module: 'nodenext', moduleResolution: 'nodenext' },
  bundler: { module: 'esnext', moduleResolution: 'bundler' },
};

for (const major of MAJORS) {
  test(`compiles under strict flags on drizzle-orm ${major}`, { timeout: 240_000 }, async () => {
    const app = await scratchApp(major);
    app.write('app.ts', fixture('app.ts'));
    app.write('relations.ts', fixture(`relations-${major}.ts`));
    // So that silence of the compiler is not taken for its consent.
    app.write('wrong.ts', `export const wrong: number = 'text';`);
    for (const [name, resolution] of Object.entries(RESOLUTIONS)) {
      const config = { compilerOptions: { ...STRICT, ...resolution }, include: ['*.ts'] };
      app.write(`tsconfig.${name}.json`, JSON.stringify(config));
      const { stdout } = await run(process.execPath, [tsc, '-p', `tsconfig.${name}.json`], { cwd: app.folder }).catch(
        (error: Error) => ({ stdout: error.message }),
      );
      const complaints = stdout.split('\n').filter((line) => line.includes('error TS'));
      // Other packages' own declarations are not ours to mend.
      expect(complaints.filter((line) => !/node_modules\/(?!@conveyor\/)/.test(line))).toEqual([
        expect.stringMatching(/^wrong\.ts/),
      ]);
    }
  });
}
