import { type ChildProcess, fork } from 'node:child_process';
import type { Random } from './random.js';
import type { WorkerPlan } from './worker.process.js';

export interface CrewOptions {
  size: number;
  /** What each process is told; `seed` is set by the crew. */
  plan: Omit<WorkerPlan, 'seed'>;
  /** Whether another process follows one that has ended. Default true. */
  respawn?: boolean;
  /** For Node, such as another clock. */
  execArgv?: string[];
  onMessage?: (message: Said, from: Member) => void;
}

/** What a worker process tells: a kind, and whatever belongs to it. */
export interface Said {
  readonly kind: string;
  readonly at: number;
  readonly [key: string]: unknown;
}

export interface Member {
  readonly pid: number;
  readonly child: ChildProcess;
  /** Has connected its store and started its workers. */
  ready: boolean;
  stopped: boolean;
  doomed: boolean;
}

/** Worker processes that are killed, stopped and replaced. */
export interface Crew {
  members(): readonly Member[];
  /** Ends that nobody ordered: each is a fault. */
  readonly crashes: string[];
  /** kill -9 of a random member that is ready; false when there is none. */
  killOne(): Member | undefined;
  allReady(): boolean;
  dismiss(): Promise<void>;
}

export function startCrew(script: string, random: Random, options: CrewOptions): Crew {
  const members = new Set<Member>();
  const crashes: string[] = [];
  let dismissed = false;
  let started = 0;
  const start = () => {
    const plan: WorkerPlan = { ...options.plan, seed: random.fork(`process ${++started}`).seed };
    const env = { ...process.env, NODE_OPTIONS: '', DRILL_PLAN: JSON.stringify(plan) };
    const child = fork(script, [], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env,
      execArgv: options.execArgv ?? [],
    });
    const member: Member = { pid: child.pid ?? 0, child, ready: false, stopped: false, doomed: false };
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk) => {
        said = (said + chunk).slice(-2_000);
      });
    }
    members.add(member);
    child.on('message', (message: Said) => {
      if (message.kind === 'ready') member.ready = true;
      options.onMessage?.(message, member);
    });
    child.once('exit', (code, signal) => {
      members.delete(member);
      if (!member.doomed && !dismissed) crashes.push(`process ended with ${code ?? signal}: ${said}`);
      if (!dismissed && options.respawn !== false) start();
    });
  };
  for (let i = 0; i < options.size; i++) start();
  return {
    members: () => [...members],
    crashes,
    killOne() {
      const candidates = [...members].filter((member) => member.ready && !member.stopped && !member.doomed);
      if (candidates.length === 0) return undefined;
      const member = random.pick(candidates);
      member.doomed = true;
      member.child.kill('SIGKILL');
      return member;
    },
    allReady: () => members.size === options.size && [...members].every((member) => member.ready),
    async dismiss() {
      dismissed = true;
      await Promise.all(
        [...members].map(({ child }) => {
          const gone = new Promise((resolve) => child.once('exit', resolve));
          child.kill('SIGKILL'); // it ends stopped processes too
          return gone;
        }),
      );
    },
  };
}
