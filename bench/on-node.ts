/**
 * Runs another script of this folder on a Node that all contenders can run on: this one if it is new enough, else the
 * one from npm. Without either, the script runs on this one, and reports the contenders that it cannot run.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { newEnough } from './run/node.js';

const folder = import.meta.dirname;
const [, , script = '', ...args] = process.argv;
const fromNpm = join(folder, `node_modules/node-${process.platform}-${process.arch}/bin/node`);
const node = !newEnough() && existsSync(fromNpm) ? fromNpm : process.execPath;
const tsx = fileURLToPath(import.meta.resolve('tsx'));
const child = spawn(node, ['--import', `file://${tsx}`, join(folder, script), ...args], {
  stdio: 'inherit',
  env: { ...process.env, PATH: `${dirname(node)}:${process.env['PATH']}` },
});
// Both get a Ctrl-C of the terminal; the script ends its servers.
process.on('SIGINT', () => {});
child.on('exit', (code) => process.exit(code ?? 1));
