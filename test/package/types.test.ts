/** What a consumer's compiler says of the packed package. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { MAJORS, run, scratchApp } from '../support/scratch.js';

const root = resolve(import.meta.dirname, '../..');
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
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

/** The TypeScript that arethetypeswrong brings along: newer ones have no `moduleResolution: node`. */
const OLD_TSC = createRequire(join(root, 'node_modules/@arethetypeswrong/core/package.json')).resolve(
  'typescript/bin/tsc',
);
/** What is left of the flags in an app that still uses it; the minimum that the README names. */
const NODE10 = {
  target: 'es2022',
  module: 'esnext',
  moduleResolution: 'node',
  types: ['node'],
  strict: true,
  noEmit: true,
};

/** What the compiler has against the app's own files and our package: other packages are not ours to mend. */
async function complaints(compiler: string, folder: string, config: string): Promise<string[]> {
  const { stdout } = await run(process.execPath, [compiler, '-p', config], { cwd: folder }).catch((error: Error) => ({
    stdout: error.message,
  }));
  const lines = stdout.split('\n').filter((line) => line.includes('error TS'));
  return lines.filter((line) => !/node_modules\/(?!@conveyor\/)/.test(line));
}

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
      expect(await complaints(tsc, app.folder, `tsconfig.${name}.json`)).toEqual([expect.stringMatching(/^wrong\.ts/)]);
    }
  });

  test(`compiles under the settings that the README asks for on drizzle-orm ${major}`, {
    timeout: 240_000,
  }, async () => {
    const app = await scratchApp(major);
    app.write('app.ts', fixture('app.ts'));
    app.write('wrong.ts', `export const wrong: number = 'text';`);
    const [, text] = /```json\n(\{\n {2}"compilerOptions".*?)```/s.exec(readme) ?? [];
    const { compilerOptions } = JSON.parse(text as string) as { compilerOptions: object };
    app.write(
      'tsconfig.json',
      JSON.stringify({ compilerOptions: { ...compilerOptions, noEmit: true }, include: ['*.ts'] }),
    );
    for (const compiler of [tsc, OLD_TSC]) {
      expect(await complaints(compiler, app.folder, 'tsconfig.json')).toEqual([expect.stringMatching(/^wrong\.ts/)]);
    }
  });

  test(`is found by moduleResolution: node on drizzle-orm ${major}`, { timeout: 240_000 }, async () => {
    const app = await scratchApp(major);
    app.write('app.ts', fixture('node10.ts'));
    app.write('relations.ts', `export * from '@conveyor/store-pg/relations${major === '1.x' ? '-v2' : ''}';`);
    app.write('wrong.ts', `export const wrong: number = 'text';`);
    app.write('tsconfig.json', JSON.stringify({ compilerOptions: NODE10, include: ['*.ts'] }));
    expect(await complaints(OLD_TSC, app.folder, 'tsconfig.json')).toEqual([expect.stringMatching(/^wrong\.ts/)]);
  });
}
