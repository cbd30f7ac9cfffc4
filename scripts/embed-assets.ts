/**
 * Writes the dashboard's script and styles, and the chart library, as a module: so that the handler serves them wherever
 * a bundler puts the code, on Node, Bun and Deno, and an app installs no chart library.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { build } from 'esbuild';

const root = resolve(import.meta.dirname, '..');
const client = resolve(root, 'src/dashboard/client');
const read = (path: string) => readFileSync(resolve(root, path), 'utf8').trim();

const { version } = JSON.parse(read('node_modules/uplot/package.json')) as { version: string };
const notice = `/*! uPlot ${version}, MIT License, ${/Copyright.*/.exec(read('node_modules/uplot/LICENSE'))?.[0]} */\n`;

const { outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: [resolve(client, 'main.ts')],
  bundle: true,
  write: false,
  format: 'iife',
  target: 'es2022',
  tsconfig: resolve(root, 'tsconfig.client.json'),
  legalComments: 'none',
});

const files: [name: string, type: string, text: string][] = [
  ['uplot.js', 'text/javascript', notice + read('node_modules/uplot/dist/uPlot.iife.min.js')],
  ['dashboard.js', 'text/javascript', outputFiles[0]!.text.trim()],
  [
    'dashboard.css',
    'text/css',
    [
      ...['base', 'layout', 'table', 'parts', 'job'].map((name) => read(`src/dashboard/client/${name}.css`)),
      notice + read('node_modules/uplot/dist/uPlot.min.css'),
    ].join('\n'),
  ],
];
const assets = files.map(([name, type, text]) => ({
  name,
  type: `${type}; charset=utf-8`,
  hash: createHash('sha256').update(text).digest('base64url').slice(0, 20),
  text,
}));

writeFileSync(
  resolve(root, 'src/dashboard/assets/generated.ts'),
  `// Generated from src/dashboard/client and uPlot by "npm run generate": do not edit.
export interface Asset {
  readonly name: string;
  readonly type: string;
  /** Of the text; part of the address. */
  readonly hash: string;
  readonly text: string;
}

export const ASSETS: readonly Asset[] = ${JSON.stringify(assets, null, 2)};
`,
);
