import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConnectionError } from '../../src/model/errors.js';
import { Batcher, type BatcherOptions } from '../../src/store/runtime/batcher.js';
import { type Deferred, deferred } from '../support/until.js';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** A batcher whose sends are answered by the test. */
function batcherWith(options: Partial<BatcherOptions> = {}) {
  const sent: { values: number[]; answer: Deferred<string[]>; ok(): void }[] = [];
  const batcher = new Batcher<number, string>(
    (values) => {
      const answer = deferred<string[]>();
      sent.push({ values, answer, ok: () => answer.resolve(values.map((value) => `r${value}`)) });
      return answer.promise;
    },
    { maxItems: 3, maxSize: 100, parallel: 1, ...options },
  );
  const values = () => sent.map((batch) => batch.values);
  return { batcher, sent, values };
}

const turn = () => vi.advanceTimersByTimeAsync(0);

describe('when it sends', () => {
  it('sends calls of one turn together, after that turn, and gives each its own result', async () => {
    const { batcher, sent, values } = batcherWith();
    const results = Promise.all([batcher.push(1), batcher.push(2)]);
    expect(values()).toEqual([]);
    await turn();
    expect(values()).toEqual([[1, 2]]);
    sent[0]!.ok();
    expect(await results).toEqual(['r1', 'r2']);
  });

  it('collects while a batch is under way, and sends the rest when it returns', async () => {
    const { batcher, sent, values } = batcherWith();
    void batcher.push(1);
    await turn();
    void batcher.push(2);
    await turn();
    void batcher.push(3);
    await turn();
    expect(values()).toEqual([[1]]);
    sent[0]!.ok();
    await turn();
    expect(values()).toEqual([[1], [2, 3]]);
  });

  it('has at most `parallel` batches under way', async () => {
    const { batcher, sent, values } = batcherWith({ parallel: 2, maxItems: 1 });
    for (const value of [1, 2, 3]) void batcher.push(value);
    await turn();
    expect(values()).toEqual([[1], [2]]);
    sent[1]!.ok();
    await turn();
    expect(values()).toEqual([[1], [2], [3]]);
  });
});

describe('how much it sends', () => {
  it('sends at most `maxItems` in one batch', async () => {
    const { batcher, values } = batcherWith({ parallel: 5 });
    for (const value of [1, 2, 3, 4]) void batcher.push(value);
    await turn();
    expect(values()).toEqual([[1, 2, 3], [4]]);
  });

  it('sends at most `maxSize` in one batch, and a larger value alone', async () => {
    const { batcher, values } = batcherWith({ parallel: 5 });
    void batcher.push(1, 60);
    void batcher.push(2, 40);
    void batcher.push(3, 1);
    void batcher.push(4, 1_000);
    void batcher.push(5, 1);
    await turn();
    expect(values()).toEqual([[1, 2], [3], [4], [5]]);
  });

  it('keeps the order of a long queue, however it is cut', async () => {
    const sent: number[] = [];
    const batcher = new Batcher<number, number>(
      async (values) => {
        sent.push(...values);
        // More arrives while the queue is being sent.
        if (values[0]! % 70 === 0 && values[0]! < 7_000) void batcher.push(10_000 + values[0]!);
        return values;
      },
      { maxItems: 7, maxSize: 100, parallel: 1 },
    );
    for (let i = 0; i < 10_000; i++) void batcher.push(i);
    await vi.runAllTimersAsync();
    await batcher.idle();
    const late = Array.from({ length: 100 }, (_, i) => 10_000 + i * 70);
    expect(sent).toEqual([...Array.from({ length: 10_000 }, (_, i) => i), ...late]);
  });
});

describe('failures', () => {
  /** Rejects every batch with a value of 2 in it. */
  const failing = (error: unknown, options: Partial<BatcherOptions> = {}) => {
    const sent: number[][] = [];
    const batcher = new Batcher<number, string>(
      async (values) => {
        sent.push(values);
        if (values.includes(2)) throw error;
        return values.map((value) => `r${value}`);
      },
      { maxItems: 3, maxSize: 100, parallel: 1, ...options },
    );
    const results = Promise.allSettled([1, 2, 3].map((value) => batcher.push(value)));
    return { sent, results };
  };
  const statuses = (results: PromiseSettledResult<string>[]) => results.map(({ status }) => status);

  it('a refused value does not fail the others: they are sent one by one', async () => {
    const { sent, results } = failing(Object.assign(new Error('no'), { code: '22P02' }));
    await turn();
    expect(statuses(await results)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(sent).toEqual([[1, 2, 3], [1], [2], [3]]);
  });

  it.each([
    ['a lost connection', new ConnectionError('lost')],
    ['a lost connection, as the driver says it', Object.assign(new Error('lost'), { code: 'CONNECTION_CLOSED' })],
    ['a deadlock', Object.assign(new Error('deadlock'), { code: '40P01' })],
  ])('%s fails the batch as a whole', async (_, error) => {
    const { sent, results } = failing(error);
    await turn();
    expect(statuses(await results)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(sent).toEqual([[1, 2, 3]]);
  });

  it('so does what `neverSplitOn` names', async () => {
    const error = Object.assign(new Error('locked'), { code: '55P03' });
    const { sent, results } = failing(error, { neverSplitOn: (e) => e === error });
    await turn();
    expect(statuses(await results)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(sent).toEqual([[1, 2, 3]]);
  });

  it('a send that throws at once rejects every value of the batch', async () => {
    const batcher = new Batcher<number, string>(
      () => {
        throw new Error('not connected');
      },
      { maxItems: 3, maxSize: 100, parallel: 1 },
    );
    const results = Promise.allSettled([batcher.push(1), batcher.push(2)]);
    await turn();
    expect(statuses(await results)).toEqual(['rejected', 'rejected']);
    await batcher.idle();
  });

  it('a failed batch does not keep the next from being sent', async () => {
    const { batcher, sent, values } = batcherWith();
    const first = batcher.push(1);
    await turn();
    void batcher.push(2);
    sent[0]!.answer.reject(new Error('no'));
    await expect(first).rejects.toThrow('no');
    await turn();
    expect(values()).toEqual([[1], [2]]);
  });
});

describe('idle', () => {
  it('resolves at once with nothing to send', async () => {
    await batcherWith().batcher.idle();
  });

  it('resolves when the last batch has returned, not before', async () => {
    const { batcher, sent } = batcherWith({ maxItems: 1 });
    void batcher.push(1);
    void batcher.push(2);
    let idle = false;
    const waiting = batcher.idle().then(() => {
      idle = true;
    });
    await turn();
    sent[0]!.ok();
    await turn();
    expect(idle).toBe(false);
    sent[1]!.ok();
    await waiting;
    expect(idle).toBe(true);
  });
});
