import { type } from 'arktype';
import * as v from 'valibot';
import { describe, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import {
  defineQueue,
  defineWorker,
  type Job,
  type JobMap,
  type JobOf,
  type JobsOf,
  type Payload,
  type PgStore,
  Queue,
  Worker,
} from '../../src/index.js';

// Nothing here runs: tsc checks it (vitest only finds the file).
const store = undefined as unknown as PgStore;
const never = () => undefined as never;
const unrun = (_check: () => unknown) => {};

type Emails = JobMap<{ welcome: { userId: number }; digest: { day: string } }>;
interface EmailPayload {
  to: { name: string; address: string };
  attachments: string[];
}
type EmailAlias = { to: string; subject: string };

describe('a queue of several kinds of jobs', () => {
  it('infers the payload from the name', () => {
    unrun(async () => {
      const queue = new Queue<Emails>('emails', { store });
      const welcome = await queue.add('welcome', { userId: 1 });
      expectTypeOf(welcome.data).toEqualTypeOf<{ userId: number }>();
      expectTypeOf(welcome.name).toEqualTypeOf<'welcome'>();
      const digest = await queue.schedule('1 day', 'digest', { day: 'monday' });
      expectTypeOf(digest.data).toEqualTypeOf<{ day: string }>();
      await queue.every('1 hour', 'digest', { day: 'x' });
      await queue.cron('0 9 * * *', 'digest', { day: 'x' });
      await queue.now('welcome', { userId: 2 });
      // @ts-expect-error the payload of another name
      await queue.add('welcome', { day: 'monday' });
      // @ts-expect-error no such name
      await queue.add('welcom', { userId: 1 });
      // @ts-expect-error not a number
      await queue.add('welcome', { userId: 'one' });
      // @ts-expect-error one property too many
      await queue.add('welcome', { userId: 1, extra: true });
      // @ts-expect-error the payload of another name
      await queue.schedule(5, 'digest', { userId: 1 });
    });
  });

  it('in addBulk each item has the payload of its name', () => {
    unrun(async () => {
      const queue = new Queue<Emails>('emails', { store });
      const jobs = await queue.addBulk([
        { name: 'welcome', data: { userId: 1 } },
        { name: 'digest', data: { day: 'x' }, opts: { attempts: 3 } },
      ]);
      expectTypeOf(jobs[0]!.data).toEqualTypeOf<{ userId: number } | { day: string }>();
      // @ts-expect-error the payload of another name
      await queue.addBulk([{ name: 'welcome', data: { day: 'x' } }]);
    });
  });

  it('what is read from the queue tells its kind by its name', () => {
    unrun(async () => {
      const queue = new Queue<Emails>('emails', { store });
      const job = await queue.getJob('x');
      if (job?.name === 'welcome') expectTypeOf(job.data).toEqualTypeOf<{ userId: number }>();
      for (const each of await queue.getJobs('failed')) {
        if (each.name === 'digest') expectTypeOf(each.data).toEqualTypeOf<{ day: string }>();
      }
      queue.events.on('waiting', (waiting) => {
        if (waiting.name === 'digest') expectTypeOf(waiting.data).toEqualTypeOf<{ day: string }>();
      });
    });
  });

  it('the job of a worker is a union that its name tells apart', () => {
    unrun(() => {
      const worker = new Worker<Emails>(
        'emails',
        async (job, signal) => {
          expectTypeOf(signal).toEqualTypeOf<AbortSignal>();
          expectTypeOf(job.name).toEqualTypeOf<'welcome' | 'digest'>();
          switch (job.name) {
            case 'welcome':
              expectTypeOf(job.data).toEqualTypeOf<{ userId: number }>();
              await job.updateData({ userId: 2 });
              // @ts-expect-error not its payload
              await job.updateData({ day: 'x' });
              return 1;
            case 'digest':
              expectTypeOf(job.data).toEqualTypeOf<{ day: string }>();
              return 2;
            default:
              return job satisfies never;
          }
        },
        { store },
      );
      worker.on('completed', ({ job, result }) => {
        if (job.name === 'welcome') expectTypeOf(job.data.userId).toBeNumber();
        expectTypeOf(result).toBeUnknown();
      });
      worker.on('active', (job) => expectTypeOf(job).toEqualTypeOf<JobOf<Emails>>());
      worker.on('stalled', (id) => expectTypeOf(id).toBeString());
      worker.on('error', (error) => expectTypeOf(error).toEqualTypeOf<Error>());
      // @ts-expect-error no such event
      worker.on('complete', () => {});
    });
  });

  it('and so are the jobs of a batch', () => {
    unrun(() => {
      new Worker<Emails>(
        'emails',
        async (jobs) => {
          for (const job of jobs) if (job.name === 'welcome') expectTypeOf(job.data.userId).toBeNumber();
          return jobs.map(() => ({ status: 'completed' as const }));
        },
        { store, batch: { size: 10 } },
      );
      // @ts-expect-error a batch processor answers for each job
      new Worker<Emails>('emails', async (_jobs) => 'done', { store, batch: { size: 10 } });
    });
  });

  it('by a marker also where payloads are not objects', () => {
    unrun(async () => {
      type Mixed = JobMap<{ ping: string; count: number; nothing: null; list: number[] }>;
      const queue = new Queue<Mixed>('mixed', { store });
      expectTypeOf((await queue.add('ping', 'text')).data).toEqualTypeOf<string>();
      expectTypeOf((await queue.add('list', [1])).data).toEqualTypeOf<number[]>();
      await queue.add('nothing', null);
      // @ts-expect-error not a string
      await queue.add('ping', 5);
      // @ts-expect-error the marker is no name
      await queue.add('~jobMap', true);
      new Worker<Mixed>(
        'mixed',
        (job) => {
          if (job.name === 'count') expectTypeOf(job.data).toBeNumber();
        },
        { store },
      );
    });
  });

  it('by a marker also from an interface', () => {
    interface Kinds {
      a: { x: number };
      b: { y: string };
    }
    unrun(async () => {
      const queue = new Queue<JobMap<Kinds>>('kinds', { store });
      expectTypeOf((await queue.add('a', { x: 1 })).data.x).toBeNumber();
      // @ts-expect-error the payload of another name
      await queue.add('a', { y: 'x' });
    });
  });
});

describe('a queue of one kind of jobs', () => {
  it('takes any name, and a payload that is an interface', () => {
    unrun(async () => {
      const queue = new Queue<EmailPayload>('emails', { store });
      const job = await queue.add('whatever', { to: { name: 'a', address: 'b' }, attachments: [] });
      expectTypeOf(job.data).toEqualTypeOf<EmailPayload>();
      expectTypeOf(job).toExtend<Job<EmailPayload>>();
      // @ts-expect-error not the payload
      await queue.add('to', { name: 'a', address: 'b' });
      new Worker<EmailPayload>(
        'emails',
        async (each) => {
          expectTypeOf(each.data).toEqualTypeOf<EmailPayload>();
          expectTypeOf(each.name).toBeString();
        },
        { store },
      );
    });
  });

  it('or an alias', () => {
    unrun(async () => {
      const queue = new Queue<EmailAlias>('emails', { store });
      expectTypeOf((await queue.add('x', { to: 'a', subject: 'b' })).data).toEqualTypeOf<EmailAlias>();
      new Worker<EmailAlias>('emails', async (job) => expectTypeOf(job.data).toEqualTypeOf<EmailAlias>(), { store });
    });
  });

  it('with a marker an alias all of whose properties are objects', () => {
    unrun(async () => {
      type Pair = { from: { id: number }; to: { id: number } };
      const queue = new Queue<Payload<Pair>>('pairs', { store });
      const job = await queue.add('move', { from: { id: 1 }, to: { id: 2 } });
      expectTypeOf(job.data).toEqualTypeOf<Pair>();
      new Worker<Payload<Pair>>('pairs', async (each) => expectTypeOf(each.data).toEqualTypeOf<Pair>(), { store });
    });
  });

  it('of any JSON type', () => {
    unrun(async () => {
      expectTypeOf((await new Queue<string>('s', { store }).add('x', 'text')).data).toBeString();
      expectTypeOf((await new Queue<number[]>('n', { store }).add('x', [1])).data).toEqualTypeOf<number[]>();
      expectTypeOf((await new Queue<object[]>('o', { store }).add('x', [{}])).data).toEqualTypeOf<object[]>();
      expectTypeOf((await new Queue<null>('0', { store }).add('x', null)).data).toBeNull();
      expectTypeOf((await new Queue('u', { store }).add('x', { any: 1 })).data).toBeUnknown();
      // biome-ignore lint/suspicious/noExplicitAny: what if
      expectTypeOf((await new Queue<any>('a', { store }).add('x', 5)).data).toBeAny();
      type Union = { kind: 'a'; a: number } | { kind: 'b'; b: string };
      expectTypeOf((await new Queue<Union>('k', { store }).add('x', { kind: 'a', a: 1 })).data).toEqualTypeOf<Union>();
      type Open = Record<string, { id: number }>;
      expectTypeOf((await new Queue<Open>('r', { store }).add('x', { key: { id: 1 } })).data).toEqualTypeOf<Open>();
    });
  });

  it('without a type it takes anything, and its worker gets unknown data', () => {
    unrun(() => {
      new Worker('u', async (job) => expectTypeOf(job.data).toBeUnknown(), { store });
      new Worker('u', (job) => job.id, { store });
    });
  });

  it('a list of queues of whatever kinds can be made', () => {
    unrun(() => {
      // biome-ignore lint/suspicious/noExplicitAny: of whatever kind
      const all: Queue<any>[] = [
        new Queue<Emails>('a', { store }),
        new Queue<string>('b', { store }),
        new Queue('c', { store }),
      ];
      // biome-ignore lint/suspicious/noExplicitAny: of whatever kind
      const workers: Worker<any>[] = [new Worker<Emails>('a', never, { store }), new Worker('b', never, { store })];
      return [all, workers];
    });
  });

  it('a union of kinds is what their names tell apart only when it is a map', () => {
    unrun(() => {
      // biome-ignore lint/suspicious/noExplicitAny: what if
      new Worker<Record<string, any>>('any', (job) => expectTypeOf(job.data).toEqualTypeOf<Record<string, any>>(), {
        store,
      });
    });
  });
});

describe('schemas', () => {
  const schemas = {
    welcome: z.object({ userId: z.coerce.number(), locale: z.string().default('en') }),
    digest: v.object({ day: v.pipe(v.string(), v.trim()) }),
    ping: z.string(),
    receipt: type({ amount: 'string.numeric.parse', currency: "string = 'EUR'" }),
  };

  it('give a queue its names and payloads: what a schema takes, and what it makes of it', () => {
    unrun(async () => {
      const queue = defineQueue('emails', { store, schemas });
      const job = await queue.add('welcome', { userId: 1 });
      expectTypeOf(job.data).toEqualTypeOf<{ userId: unknown; locale?: string | undefined }>();
      await queue.add('digest', { day: ' monday ' });
      await queue.add('ping', 'text');
      const receipt = await queue.add('receipt', { amount: '5' });
      expectTypeOf(receipt.data).toEqualTypeOf<{ amount: string; currency?: string }>();
      // @ts-expect-error it takes text
      await queue.add('receipt', { amount: 5 });
      // @ts-expect-error no such name
      await queue.add('nothing', {});
      // @ts-expect-error no string
      await queue.add('digest', { day: 5 });
    });
  });

  it('give a worker its jobs', () => {
    unrun(() => {
      defineWorker(
        'emails',
        async (job) => {
          if (job.name === 'welcome') expectTypeOf(job.data).toEqualTypeOf<{ userId: number; locale: string }>();
          if (job.name === 'ping') expectTypeOf(job.data).toBeString();
          if (job.name === 'receipt') expectTypeOf(job.data).toEqualTypeOf<{ amount: number; currency: string }>();
          // @ts-expect-error no such name
          if (job.name === 'other') return 1;
          return 0;
        },
        { store, schemas },
      );
    });
  });

  it('of a queue are those of its workers', () => {
    unrun(() => {
      const queue = defineQueue('emails', { store, schemas });
      type Jobs = JobsOf<typeof queue>;
      new Worker<Jobs>(
        queue.name,
        (job) => {
          if (job.name === 'digest') expectTypeOf(job.data).toEqualTypeOf<{ day: string }>();
        },
        { store },
      );
    });
  });

  it('must fit the types that a worker or queue names itself', () => {
    unrun(() => {
      new Worker<Emails>('emails', never, { store, schemas: { welcome: z.object({ userId: z.number() }) } });
      // @ts-expect-error makes something else
      new Worker<Emails>('emails', never, { store, schemas: { welcome: z.object({ day: z.string() }) } });
      new Worker<EmailAlias>('emails', never, {
        store,
        schemas: { any: z.object({ to: z.string(), subject: z.string() }) },
      });
      new Queue<Emails>('emails', {
        store,
        schemas: { welcome: z.object({ userId: z.number() }), digest: v.object({ day: v.string() }) },
      });
    });
  });
});
