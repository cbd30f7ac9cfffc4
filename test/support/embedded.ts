import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface EmbeddedOptions {
  /** Major version, '12' to '18'. Default: the installed one; another is fetched from npm for this run. */
  version?: string | undefined;
  /** Default true. False: nothing is flushed to disk, for tests that do not outlive a power cut. */
  durable?: boolean | undefined;
  /** Server settings by name. */
  settings?: Record<string, string> | undefined;
}

export interface EmbeddedServer {
  url: string;
  version: string;
  /** Ends the server without its files: SIGQUIT as `-m immediate`, SIGINT as `-m fast`. */
  halt(signal: 'SIGQUIT' | 'SIGINT'): Promise<void>;
  /** Starts a halted server again, with the same files at the same address. */
  resume(): Promise<void>;
  /** Ends the server and removes its files. It happens by itself when this process ends, however it ends. */
  stop(): Promise<void>;
}

/** Starts a real Postgres from npm on a free port of this machine, as root or as an ordinary user. */
export async function startEmbedded(options: EmbeddedOptions = {}): Promise<EmbeddedServer> {
  const durable = options.durable ?? true;
  const order = {
    version: options.version,
    durable,
    password: randomBytes(12).toString('hex'),
    settings: {
      max_connections: '300',
      ...(durable ? {} : { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off' }),
      ...options.settings,
    },
  };
  // Detached, so that a Ctrl-C in the terminal reaches us and not the server; the keeper follows when our end of its stdin closes.
  const keeper = spawn(process.execPath, [fileURLToPath(new URL('./embedded-keeper.mjs', import.meta.url))], {
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const ended = new Promise<void>((resolve) => keeper.once('close', () => resolve()));
  keeper.stdin.on('error', () => {});
  keeper.stdin.write(`${JSON.stringify(order)}\n`);

  const lines = createInterface({ input: keeper.stdout })[Symbol.asyncIterator]();
  const failed = new Promise<never>((_, reject) => keeper.once('error', reject));
  failed.catch(() => {});
  const nextLine = async () => {
    const { value, done } = await Promise.race([lines.next(), failed]);
    if (done) throw new Error('the keeper of the embedded Postgres ended without a word');
    return value;
  };
  const answer = JSON.parse(await nextLine()) as { url: string; version: string } | { error: string };
  if ('error' in answer) {
    await ended;
    throw new Error(`The embedded Postgres did not start: ${answer.error}`);
  }

  // A program that forgets to stop its server can still end, and the server ends with it.
  keeper.unref();
  for (const stream of [keeper.stdin, keeper.stdout]) (stream as unknown as { unref(): void }).unref();
  const obey = async (message: object) => {
    keeper.stdin.write(`${JSON.stringify(message)}\n`);
    const { error } = JSON.parse(await nextLine()) as { error?: string };
    if (error) throw new Error(`The embedded Postgres did not do it: ${error}`);
  };
  return {
    ...answer,
    halt: (signal) => obey({ do: 'halt', signal }),
    resume: () => obey({ do: 'resume' }),
    stop() {
      keeper.ref();
      keeper.stdin.end();
      return ended;
    },
  };
}
