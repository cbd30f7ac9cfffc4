import { Job, Queue } from '../../../src/index.js';
import { jobIn } from '../../support/rows.js';
import { until } from '../../support/until.js';
import type { Bench, Drill } from '../support/drill.js';
import { spread, tally } from '../support/figures.js';
import { OPERATIONS, type Operation } from '../support/operations.js';
import { snapshot } from '../support/snapshot.js';
import { startWire, type Verdict, type WireProxy } from '../support/wire.js';

const FAULTS: Readonly<Record<string, Verdict>> = {
  'cut before it was sent': 'refuse',
  'cut after it was sent': 'cut',
  'answer lost': 'lose',
  'error 40001': { sqlState: '40001' },
  'error 57P01': { sqlState: '57P01' },
};
/** Of no operation: they come and go by time. */
const BACKGROUND = new Set(['poll', 'heartbeat']);

/** Fails the n-th statement of every public operation, for each n, in each way. */
export const statements: Drill = {
  name: 'statements',
  title:
    'the n-th statement of every operation fails: done once or not at all, a retry with the same jobId adds nothing',
  async run(bench) {
    const tallies = { cases: 0, acknowledged: 0, refused: 0, done: 0 };
    const times: number[] = [];
    const before = timersAndSockets();
    const queue = [...OPERATIONS];
    const lanes = Array.from({ length: 4 }, async () => {
      const wire = await startWire(bench.url);
      const lane = new Lane(bench, wire, tallies, times);
      for (let next = queue.shift(); next; next = queue.shift()) await lane.drill(next);
      await lane.close();
      await until(() => wire.open().length === 0).catch(() =>
        bench.fault(`connections left open after: ${wire.open()}`),
      );
      await wire.close();
    });
    await Promise.all(lanes);
    const left = () => timersAndSockets().filter((one) => !before.includes(one));
    await until(() => left().length === 0).catch(() => bench.fault(`left behind: ${left()}`));
    const { cases, acknowledged, refused, done } = tallies;
    bench.figure('operations', OPERATIONS.length);
    bench.figure('cases', tally({ all: cases, acknowledged, refused, 'of these done': done }));
    bench.figure('call, ms p50/p99/max', spread(times));
  },
};

type Tallies = Record<'cases' | 'acknowledged' | 'refused' | 'done', number>;

/** A store behind a wire of its own. */
class Lane {
  readonly #bench: Bench;
  readonly #wire: WireProxy;
  readonly #tallies: Tallies;
  readonly #times: number[];
  readonly #near;
  readonly #far;
  static #names = 0;

  constructor(bench: Bench, wire: WireProxy, tallies: Tallies, times: number[]) {
    this.#bench = bench;
    this.#wire = wire;
    this.#tallies = tallies;
    this.#times = times;
    this.#near = bench.open({ listen: false });
    this.#far = bench.open({ connection: wire.url, listen: false, pollInterval: false, statementTimeout: 5_000 });
  }

  async close(): Promise<void> {
    await Promise.all([(await this.#near).disconnect(), (await this.#far).disconnect()]);
  }

  async drill(operation: Operation): Promise<void> {
    const calm = await this.#once(operation, 'pass', 0);
    for (const [fault, verdict] of Object.entries(FAULTS)) {
      for (let n = 1; n <= calm.statements; n++) {
        const { before, after, error, again } = await this.#once(operation, verdict, n);
        const where = `${operation.name}, statement ${n}, ${fault}`;
        this.#tallies.cases++;
        this.#tallies[error === undefined ? 'acknowledged' : 'refused']++;
        if (error !== undefined && after === calm.after) this.#tallies.done++;
        if (error === undefined && after !== calm.after) this.#bench.fault(`${where}: acknowledged, but ${after}`);
        if (!operation.inSteps && after !== calm.after && after !== before)
          this.#bench.fault(`${where}: neither once nor not at all: ${after}`);
        if (again !== undefined && again !== calm.after) this.#bench.fault(`${where}: repeated, it is ${again}`);
      }
    }
  }

  /** Runs an operation on a new scene, with a fault at its n-th statement. */
  async #once(operation: Operation, verdict: Verdict, n: number) {
    const [near, store] = [await this.#near, await this.#far];
    const name = `q${++Lane.#names}`;
    for (const [id, state] of operation.jobs ?? []) await near.saveJob(name, jobIn(state, { id, queueName: name }));
    await operation.prepare?.(new Queue(name, { store: near }), near);
    const queue = new Queue(name, { store });
    const before = await snapshot(this.#bench.sql, name);
    const job = async (id: string) => new Job((await near.getJob(name, id))!, store);
    const scene = { queue, store, name, job };
    let statements = 0;
    this.#wire.decide = (label) => (!BACKGROUND.has(label) && ++statements === n ? verdict : 'pass');
    const from = performance.now();
    const error = await operation.run(scene).then(
      () => undefined,
      (reason: unknown) => reason ?? new Error('rejected with nothing'),
    );
    if (n > 0) this.#times.push(performance.now() - from);
    this.#wire.decide = () => 'pass';
    await until(() => this.#wire.settled());
    const after = await snapshot(this.#bench.sql, name);
    let again: string | undefined;
    if (error !== undefined && operation.repeatable) {
      // A connection that has broken may take the next call with it.
      await until(() =>
        operation.run(scene).then(
          () => true,
          () => false,
        ),
      );
      again = await snapshot(this.#bench.sql, name);
    }
    return { before, after, error, again, statements };
  }
}

const timersAndSockets = () => process.getActiveResourcesInfo().filter((name) => /Timeout|TCP/.test(name));
