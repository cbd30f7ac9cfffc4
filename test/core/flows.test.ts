import { describe, expect, it } from 'vitest';
import { type FlowJob, type FlowNode, FlowProducer, type Job, type PgStore, type Queue } from '../../src/index.js';
import { newName, usePlayground } from '../support/playground.js';
import { until } from '../support/until.js';

const play = usePlayground();

const leaf = (queueName: string, name: string, more: Partial<FlowJob> = {}): FlowJob => ({
  name,
  queueName,
  data: name,
  ...more,
});

/** Runs every job: it returns its name, fails if its data asks for it, and notes the order of the starts. */
function runAll(queue: { name: string }, store: PgStore, concurrency = 3) {
  const started: string[] = [];
  play.worker(
    queue,
    store,
    async (job) => {
      started.push(job.name);
      if (job.data === 'fails') throw new Error(`${job.name} failed`);
      return job.name;
    },
    { concurrency },
  );
  return started;
}

const read = async (queue: Queue, node: FlowNode | undefined): Promise<Job> => {
  const job = await queue.getJob(node?.job.id ?? '');
  if (!job) throw new Error('the job is gone');
  return job;
};

const ended = (queue: Queue, node: FlowNode | undefined) =>
  until(async () => {
    const job = await queue.getJob(node?.job.id ?? '');
    return job && ['completed', 'failed'].includes(job.state) ? job : null;
  });

describe('FlowProducer.add', () => {
  it('refuses what JSON cannot hold, with its path, and answers with what is stored', async () => {
    const store = await play.open();
    const flows = new FlowProducer({ store });
    const child = (data: unknown): FlowJob => ({ name: 'child', queueName: newName(), data });
    for (const data of [Symbol('s'), 1n, () => 1]) {
      const flow = { name: 'parent', queueName: newName(), data: null, children: [child({ deep: [data] })] };
      await expect(flows.add(flow)).rejects.toMatchObject({ code: 'INVALID_PAYLOAD', path: 'data.deep[0]' });
    }
    const { job } = await flows.add({ name: 'parent', queueName: newName(), data: { at: new Date(0) } });
    expect(job.data).toEqual({ at: '1970-01-01T00:00:00.000Z' });
  });

  it('answers with the tree, and saves it as it says', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const other = newName();
    const flow = await new FlowProducer({ store }).add({
      ...leaf(queue.name, 'root'),
      children: [
        leaf(other, 'a'),
        { ...leaf(queue.name, 'b'), children: [leaf(other, 'c', { opts: { delay: 60_000 } })] },
      ],
    });
    expect(flow.job).toMatchObject({ name: 'root', queueName: queue.name, data: 'root', state: 'waiting-children' });
    expect(flow.children?.map(({ job }) => [job.name, job.queueName, job.state])).toEqual([
      ['a', other, 'waiting'],
      ['b', queue.name, 'waiting-children'],
    ]);
    const root = await read(queue, flow);
    expect(root.childrenIds).toEqual(flow.children?.map(({ job }) => job.id));
    expect(root.pendingChildrenCount).toBe(2);
    const dependencies = await root.getDependencies();
    expect(dependencies.map(({ name, parentId }) => [name, parentId])).toEqual([
      ['a', root.id],
      ['b', root.id],
    ]);
    expect((await dependencies[0]?.getParent())?.id).toBe(root.id);
    expect(flow.children?.[1]?.children?.[0]?.job.state).toBe('delayed');
  });

  it('saves nothing when one job of the tree is bad', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const flows = new FlowProducer({ store });
    const bad = [
      { ...leaf(queue.name, 'child'), data: 1n },
      { ...leaf(queue.name, 'child'), opts: { attempts: 0 } },
      { ...leaf('', 'child') },
      { ...leaf(queue.name, 'child'), opts: { repeat: { every: 1000 } } },
      null as never,
    ];
    for (const child of bad) {
      await expect(flows.add({ ...leaf(queue.name, 'root'), children: [child] })).rejects.toThrow();
    }
    expect(await queue.getJobCounts()).toMatchObject({ 'waiting-children': 0, waiting: 0 });
  });

  it('of a tree that is there already answers with what is there', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const flows = new FlowProducer({ store });
    const tree = (): FlowJob => ({
      ...leaf(queue.name, 'root', { opts: { jobId: 'the-root' } }),
      children: [leaf(queue.name, 'child', { opts: { jobId: 'the-child' } })],
    });
    const first = await flows.add(tree());
    const second = await flows.add(tree());
    expect(second.job.id).toBe(first.job.id);
    expect(await queue.getJobCounts()).toMatchObject({ 'waiting-children': 1, waiting: 1 });
  });
});

describe('a flow', () => {
  it('runs children before parents, each once, and hands their values up', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const values: Record<string, unknown>[] = [];
    const started: string[] = [];
    play.worker(
      queue,
      store,
      async (job) => {
        started.push(job.name);
        if (job.name === 'root') values.push(await job.getChildrenValues());
        return `${job.name}!`;
      },
      { concurrency: 5 },
    );
    const flow = await new FlowProducer({ store }).add({
      ...leaf(queue.name, 'root'),
      children: [
        leaf(queue.name, 'kept'),
        leaf(queue.name, 'removed', { opts: { removeOnComplete: true } }),
        { ...leaf(queue.name, 'middle'), children: [leaf(queue.name, 'deep')] },
      ],
    });
    await ended(queue, flow);
    expect([...started].sort()).toEqual(['deep', 'kept', 'middle', 'removed', 'root']);
    expect(started.indexOf('deep')).toBeLessThan(started.indexOf('middle'));
    expect(started.at(-1)).toBe('root');
    const [kept, removed, middle] = (flow.children ?? []).map(({ job }) => job.id);
    expect(values).toEqual([
      { [kept as string]: 'kept!', [removed as string]: 'removed!', [middle as string]: 'middle!' },
    ]);
  });

  it.each([
    ['fail', 'failed', 'failed'],
    ['ignore', 'completed', 'completed'],
  ] as const)(
    'with the policy %s a failed child makes its parent %s and its grandparent %s',
    async (policy, parent, root) => {
      const store = await play.open();
      const queue = play.queue(store);
      const started = runAll(queue, store);
      const flow = await new FlowProducer({ store }).add({
        ...leaf(queue.name, 'root'),
        children: [
          {
            ...leaf(queue.name, 'parent', { opts: { failParentOnChildFailure: policy } }),
            children: [leaf(queue.name, 'bad', { data: 'fails' }), leaf(queue.name, 'good')],
          },
        ],
      });
      expect((await ended(queue, flow.children?.[0])).state).toBe(parent);
      const top = await ended(queue, flow);
      expect(top.state).toBe(root);
      if (policy === 'fail') {
        expect(top.failedReason).toBe('Child failed: Child failed: bad failed');
        expect(started).not.toContain('parent');
      }
    },
  );

  it("with the policy remove the parent is gone, and its own parent's policy decides", async () => {
    const store = await play.open();
    const queue = play.queue(store);
    runAll(queue, store);
    const flow = await new FlowProducer({ store }).add({
      ...leaf(queue.name, 'root', { opts: { failParentOnChildFailure: 'ignore' } }),
      children: [
        {
          ...leaf(queue.name, 'parent', { opts: { failParentOnChildFailure: 'remove' } }),
          children: [leaf(queue.name, 'bad', { data: 'fails' })],
        },
      ],
    });
    expect((await ended(queue, flow)).state).toBe('completed');
    expect(await queue.getJob(flow.children?.[0]?.job.id ?? '')).toBeNull();
  });

  it.each(['remove', 'cancel', 'drain', 'clean', 'moveToFailed'] as const)(
    'whose only child is ended by %s does not wait for ever',
    async (how) => {
      const store = await play.open();
      const queue = play.queue(store);
      const children = play.queue(store);
      const flow = await new FlowProducer({ store }).add({
        ...leaf(queue.name, 'root'),
        children: [leaf(children.name, 'child')],
      });
      const child = await read(children, flow.children?.[0]);
      if (how === 'drain') await children.drain();
      else if (how === 'clean') await until(async () => (await children.clean('waiting', 0)) === 1);
      else if (how === 'moveToFailed') await child.moveToFailed('no');
      else await child[how]();
      const root = await read(queue, flow);
      expect(root.state).toBe('failed');
      expect(root.failedReason).toMatch(/^Child failed: /);
      // Retried, nothing is left to wait for: it runs.
      await root.retry();
      expect((await read(queue, flow)).state).toBe('waiting');
    },
  );

  it('whose ignored child is retried waits for it once more', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const flow = await new FlowProducer({ store }).add({
      ...leaf(queue.name, 'root', { opts: { failParentOnChildFailure: 'ignore' } }),
      children: [leaf(queue.name, 'a'), leaf(queue.name, 'b')],
    });
    const [a, b] = [await read(queue, flow.children?.[0]), await read(queue, flow.children?.[1])];
    await a.moveToFailed('ignored');
    expect((await read(queue, flow)).pendingChildrenCount).toBe(1);
    await a.retry();
    expect((await read(queue, flow)).pendingChildrenCount).toBe(2);
    await b.moveToFailed('ignored too');
    expect((await read(queue, flow)).state).toBe('waiting-children');
    await a.moveToFailed('again');
    expect((await read(queue, flow)).state).toBe('waiting');
  });

  it('of 200 children settles its parent exactly once, under many workers', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const started = (await Promise.all([play.open(), play.open()])).map((one) => runAll(queue, one, 20));
    const flow = await new FlowProducer({ store }).add({
      ...leaf(queue.name, 'root'),
      children: Array.from({ length: 200 }, (_, i) => leaf(queue.name, `c${i}`)),
    });
    expect((await ended(queue, flow)).state).toBe('completed');
    const all = started.flat();
    expect(all).toHaveLength(201);
    expect(new Set(all).size).toBe(201);
    expect(all.filter((name) => name === 'root')).toHaveLength(1);
  });

  it('that is delayed has its workers look when it is due as soon as its children have ended', async () => {
    const [store, other] = [await play.open(), await play.open()];
    const [queue, parents] = [play.queue(store), play.queue(store)];
    const bells: (number | null)[] = [];
    const far: (number | null)[] = [];
    store.engine.notifier.onWake(parents.name, (dueIn) => void bells.push(dueIn));
    other.engine.notifier.onWake(parents.name, (dueIn) => void far.push(dueIn));
    await until(() => {
      store.engine.notifier.wake(parents.name, 12_345);
      return far.length > 0;
    });
    const flow = await new FlowProducer({ store }).add({
      ...leaf(parents.name, 'root', { opts: { delay: '1 hour' } }),
      children: [leaf(queue.name, 'child')],
    });
    runAll(queue, store);
    await until(() => far.includes(0));
    expect(bells.filter((dueIn) => dueIn !== 12_345)).toEqual([0]);
    expect((await read(parents, flow)).state).toBe('delayed');
  });
});
