import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { deferred, until } from './until.js';

export interface ScriptOptions {
  args?: string[];
  /** Added to our own environment. */
  env?: Record<string, string>;
}

export interface Script {
  child: ChildProcess;
  /** What it wrote to stdout so far, each line that is JSON as a value. */
  lines: readonly unknown[];
  /** The same as a stream: from the first line until the script ends. */
  stream(): AsyncIterable<unknown>;
  /** All else it said (stdout that is not JSON, and stderr), for a test that wants to know why. */
  said(): string;
  /** To the script's `process.on('message')`. */
  send(message: NonNullable<unknown>): void;
  /** The first line, of those that came and those to come, for which the predicate holds; rejects when the script ends without one. */
  waitFor<T = unknown>(
    predicate: (line: T) => boolean,
    options?: { timeout?: number; what?: string },
  ): Promise<NonNullable<T>>;
  /** Ends it (default SIGKILL) and waits until it is gone. */
  kill(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals>;
  /** Its exit code, or the signal that ended it. */
  exit: Promise<number | NodeJS.Signals>;
}

// The script dies with us, even when we die by SIGKILL: then the other end of its pipe 4 closes.
const lifeline = `data:text/javascript,${encodeURIComponent(
  `import { Socket } from 'node:net';
   new Socket({ fd: 4 }).on('close', () => process.kill(process.pid, 'SIGKILL')).resume().unref();`,
)}`;

/** Runs a TypeScript file in a Node process of its own. */
export function spawnScript(file: string | URL, options: ScriptOptions = {}): Script {
  const path = file instanceof URL ? fileURLToPath(file) : file;
  const child = spawn(
    process.execPath,
    ['--import', lifeline, '--import', import.meta.resolve('tsx'), path, ...(options.args ?? [])],
    {
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
    },
  );
  const lines: unknown[] = [];
  let other = '';
  let ended = false;
  let changed = deferred();
  const change = () => {
    changed.resolve();
    changed = deferred();
  };

  createInterface({ input: child.stdout! }).on('line', (line) => {
    try {
      lines.push(JSON.parse(line));
      change();
    } catch {
      other += `${line}\n`;
    }
  });
  child.stderr!.on('data', (chunk) => {
    other += chunk;
  });
  child.stdio[4]!.on('error', () => {});
  const exit = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      ended = true;
      change();
      resolve(code ?? signal!);
    });
  });
  exit.catch(() => {});

  return {
    child,
    lines,
    exit,
    said: () => other,
    async *stream() {
      for (let i = 0; ; ) {
        if (i < lines.length) yield lines[i++];
        else if (ended) return;
        else await changed.promise;
      }
    },
    send(message) {
      child.send(message as object);
    },
    waitFor<T>(predicate: (line: T) => boolean, { timeout = 20_000, what = predicate.toString() } = {}) {
      const find = () => {
        const wasEnded = ended; // asked before the lines, which are all there when it has ended
        const found = (lines as T[]).find((line) => predicate(line));
        if (found === undefined && wasEnded) throw new Error(`the script ended without ${what}\n${other}`);
        return found === undefined ? undefined : { found };
      };
      return until(find, { timeout, what }).then(({ found }) => found as NonNullable<T>);
    },
    async kill(signal = 'SIGKILL') {
      if (!ended) child.kill(signal);
      return exit;
    },
  };
}
