import { afterEach, describe, expect, it } from 'vitest';
import { Job, Queue } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { startProxy } from '../support/proxy.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();
const proxies: Awaited<ReturnType<typeof startProxy>>[] = [];
afterEach(async () => {
  for (const proxy of proxies.splice(0)) await proxy.close();
});

const killListeners = () =>
  play.database.sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and query ilike 'listen %'`;

type Outage = 'LISTEN killed' | 'cut and mended' | 'half-open';

/**
 * Two processes: one with a worker, whose handlers end when they are told to; and one behind a network that fails,
 * which only subscribes and waits.
 */
async function apart() {
  const proxy = await startProxy(play.database.url);
  proxies.push(proxy);
  const near = await play.open();
  const far = await play.open({ connection: proxy.url, statementTimeout: 500 });
  const queue = play.queue<string>(near, { defaultJobOptions: { attempts: 1 } });
  const release = deferred();
  play.worker(
    queue,
    near,
    async ({ data }) => {
      await release.promise;
      if (data === 'bad') throw new Error('out of luck');
      return `${data} done`;
    },
    { concurrency: 10 },
  );
  const begin = {
    'LISTEN killed': async () => void (await killListeners()),
    'cut and mended': async () => proxy.cut(),
    'half-open': async () => proxy.freeze(),
  };
  const end = {
    'LISTEN killed': async () => void (await killListeners()),
    'cut and mended': async () => proxy.mend(),
    'half-open': async () => {
      await until(() => proxy.frozen());
      proxy.thaw();
    },
  };
  return {
    queue,
    remote: new Queue<string>(queue.name, { store: far }),
    far,
    release: () => release.resolve(),
    begin: (outage: Outage) => begin[outage](),
    end: (outage: Outage) => end[outage](),
  };
}

describe.each<Outage>(['LISTEN killed', 'cut and mended', 'half-open'])(
  'a process that only subscribes and waits, through an outage (%s)',
  (outage) => {
    it('hears how jobs ended meanwhile: waits end, and observers are told once', async () => {
      const { queue, remote, far, release, begin, end } = await apart();
      const jobs = await queue.addBulk(['good', 'bad', 'cancelled', 'later'].map((data) => ({ name: 'work', data })));
      const heard = jobs.map(() => [] as unknown[]);
      for (const [i, { id }] of jobs.entries()) {
        const said = heard[i] as unknown[];
        remote.observe(id).subscribe({
          onActive: () => said.push('active'),
          onProgress: (_job, progress) => said.push(progress),
          onCompleted: (_job, result) => said.push({ completed: result }),
          onFailed: (_job, reason) => said.push({ failed: reason }),
          onCancelled: () => said.push('cancelled'),
        });
      }
      const waits = Promise.allSettled(jobs.map((job) => new Job(job.toJSON(), far).waitUntilFinished()));
      await until(() => heard.every((said) => said.includes('active')));

      await begin(outage);
      await jobs[3]?.updateProgress(50);
      expect(await jobs[2]?.cancel()).toBe(true);
      release();
      await until(async () => (await queue.count('completed')) === 2 && (await queue.count('failed')) === 2);
      await end(outage);

      expect((await waits).map((wait) => (wait.status === 'fulfilled' ? wait.value : String(wait.reason)))).toEqual([
        'good done',
        expect.stringContaining('out of luck'),
        expect.stringContaining('Job cancelled'),
        'later done',
      ]);
      const ends = [{ completed: 'good done' }, { failed: 'out of luck' }, 'cancelled', { completed: 'later done' }];
      const isEnd = (one: unknown) => one !== 'active' && one !== 50;
      await until(() => heard.every((said) => said.some(isEnd)));
      expect(heard.map((said) => said.filter(isEnd))).toEqual(ends.map((one) => [one]));
    });

    it('goes on hearing as before once it is over', async () => {
      const { queue, remote, begin, end, release } = await apart();
      const first = await remote.add('work', 'first');
      const wait = first.waitUntilFinished();
      await until(() => first.isActive());
      await begin(outage);
      release();
      await until(async () => (await queue.count('completed')) === 1);
      await end(outage);
      expect(await wait).toBe('first done');
      const job = await until(() => remote.add('work', 'second').catch(() => null));
      const heard: unknown[] = [];
      remote.observe(job.id).subscribe({ onCompleted: (_job, result) => heard.push(result) });
      expect(await job.waitUntilFinished()).toBe('second done');
      await until(() => heard.length === 1);
      expect(heard).toEqual(['second done']);
    });
  },
);
