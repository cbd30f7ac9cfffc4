import { spawn } from 'node:child_process';
import type { Context, Figures, Order } from './scenario.js';

export interface Part {
  /** It has connected and waits for `go`. */
  readonly ready: Promise<void>;
  go(): void;
  /** Tells it to stop, and resolves to its figures. */
  stop(): Promise<Figures>;
}

/** Runs another part of a scenario in a process of its own. */
export function startPart({ contender, address, sizes, x }: Context, scenario: string): Part {
  const order: Order = { contender, scenario, address, sizes, ...(x !== undefined && { x }) };
  const child = spawn(process.execPath, [process.argv[1] as string, JSON.stringify(order)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let out = '';
  const end = new Promise<Figures>((resolve, reject) => {
    child.once('exit', (code) => {
      if (code === 0) resolve(JSON.parse(out.trim().split('\n').at(-1) as string) as Figures);
      else reject(new Error(`${scenario} of ${contender} ended with ${code}`));
    });
  });
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      out += chunk;
      if (out.includes('ready\n')) resolve();
    });
    end.catch(reject);
  });
  return {
    ready,
    go: () => void child.stdin.write('go\n'),
    stop() {
      child.stdin.end();
      return end;
    },
  };
}

/** Of a part: says that it is ready; `go` resolves when it shall begin, `stop` when it shall end. */
export function awaitOrders(): { go: Promise<void>; stop: Promise<void> } {
  const go = new Promise<void>((resolve) => process.stdin.once('data', () => resolve()));
  const stop = new Promise<void>((resolve) => process.stdin.once('end', resolve));
  console.log('ready');
  return { go, stop };
}
