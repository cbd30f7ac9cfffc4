/** Starts the programs of this example as child processes, and prints their output with their names in front. */
import { fork } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface Child {
  readonly name: string;
  /** Resolves when the process reports that it is ready; rejects if it ends first. */
  readonly ready: Promise<void>;
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** Sends the signal and waits until the process has ended. */
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals>;
}

export function start(name: string, file: string, env: Record<string, string>): Child {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), [name], {
    env: { ...process.env, ...env },
    execArgv: ['--import', import.meta.resolve('tsx')],
    silent: true,
  });
  for (const output of [child.stdout!, child.stderr!]) {
    createInterface({ input: output }).on('line', (line) => console.log(`${name.padEnd(8)} │ ${line}`));
  }
  const ended = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal!));
  });
  const ready = new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    ended.then((how) => reject(new Error(`${name} ended with ${how} before it was ready`)), reject);
  });
  ready.catch(() => {}); // a caller that does not wait for it must not get an unhandled rejection
  return {
    name,
    ready,
    ended,
    stop(signal = 'SIGTERM') {
      child.kill(signal);
      return ended;
    },
  };
}
