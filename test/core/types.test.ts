import { type } from 'arktype';
import * as v from 'valibot';
import { describe, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import {
  closeOnSignals,
  defineQueue,
  defineWorker,
  type FlowJob,
  type FlowNode,
  FlowProducer,
  type InputOf,
  type Job,
  type JobMap,
  type JobObservable,
  type JobOf,
  type JobsOf,
  type Payload,
  type PgStore,
  Queue,
  type ResultOf,
  Worker,
} from '../../src/index.js';

// Nothing here runs: tsc checks it (vitest only finds the file).
const store = undefined as unknown as PgStore;
const never = () => undefined as never;
const tx = { execute: async () => [] };
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

describe('what JSON makes of a payload', () => {
  interface Welcome {
    userId: number;
  }
  type Mail = JobMap<{ welcome: Welcome; remind: { at: Date; to: Welcome } }>;

  it('is the type of the data, wherever a job is read', () => {
    unrun(async () => {
      const queue = new Queue<Mail>('mail', { store });
      const job = await queue.add('remind', { at: new Date(), to: { userId: 1 } });
      expectTypeOf(job.data).toEqualTypeOf<{ at: string; to: Welcome }>();
      // @ts-expect-error what is added is a Date
      await queue.add('remind', { at: 'today', to: { userId: 1 } });
      await job.updateData({ at: '2026-01-01', to: { userId: 1 } });
      const found = await queue.getJob('x');
      if (found?.name === 'remind') expectTypeOf(found.data.at).toBeString();
      queue.events.on('waiting', (each) => {
        if (each.name === 'remind') expectTypeOf(each.data.at).toBeString();
      });
      const worker = new Worker<Mail>(
        'mail',
        (each) => {
          if (each.name === 'remind') expectTypeOf(each.data).toEqualTypeOf<{ at: string; to: Welcome }>();
          else expectTypeOf(each.data).toEqualTypeOf<Welcome>();
        },
        { store },
      );
      worker.on('failed', ({ job: each }) => {
        if (each.name === 'remind') expectTypeOf(each.data.at).toBeString();
      });
      expectTypeOf((await new Queue<Date>('d', { store }).add('x', new Date())).data).toBeString();
    });
  });

  it('is not taken from what a handler returns', () => {
    unrun(() => {
      expectTypeOf(new Worker('u', async () => ({ sent: true }), { store })).toEqualTypeOf<Worker>();
      new Worker<Mail>('u', async () => ({ sent: true }), { store });
    });
  });
});

describe('results', () => {
  type Images = JobMap<{
    resize: { data: { file: string }; result: { bytes: number; at: Date } };
    crop: { data: { file: string }; result: null };
    odd: Payload<{ data: number; result: number }>;
  }>;
  type Checked = JobMap<{ resize: { data: { file: string }; result: { bytes: number } } }>;

  it('are typed by name, as JSON gives them back', () => {
    unrun(async () => {
      const queue = new Queue<Images>('images', { store });
      const job = await queue.add('resize', { file: 'a' });
      expectTypeOf(job.data).toEqualTypeOf<{ file: string }>();
      expectTypeOf(await job.waitUntilFinished()).toEqualTypeOf<{ bytes: number; at: string }>();
      expectTypeOf(job.returnvalue).toEqualTypeOf<{ bytes: number; at: string } | null>();
      job.observe().subscribe({ onCompleted: (_job, result) => expectTypeOf(result.at).toBeString() });
      expectTypeOf(await (await queue.add('crop', { file: 'a' })).waitUntilFinished()).toBeNull();
      const odd = await queue.add('odd', { data: 1, result: 2 });
      expectTypeOf(odd.data).toEqualTypeOf<{ data: number; result: number }>();
      expectTypeOf(await odd.waitUntilFinished()).toBeUnknown();
      expectTypeOf(await job.getChildrenValues<ResultOf<Images, 'resize'>>()).toEqualTypeOf<
        Record<string, { bytes: number; at: string }>
      >();
    });
  });

  it('are what a handler must return', () => {
    unrun(() => {
      const worker = new Worker<Checked>('images', async ({ data }) => ({ bytes: data.file.length }), { store });
      worker.on('completed', ({ result, job }) => {
        expectTypeOf(result).toEqualTypeOf<{ bytes: number }>();
        expectTypeOf(job.returnvalue).toEqualTypeOf<{ bytes: number } | null>();
      });
      // @ts-expect-error not a number
      new Worker<Checked>('images', async () => ({ bytes: 'many' }), { store });
      // @ts-expect-error nothing
      new Worker<Checked>('images', async () => {}, { store });
      new Worker<Checked>('images', async (job) => ({ bytes: await job.completeIn(tx, { bytes: 1 }).then(() => 1) }), {
        store,
      });
      // @ts-expect-error not a number
      new Worker<Checked>('images', async (job) => job.completeIn(tx, { bytes: 'many' }).then(() => ({ bytes: 1 })), {
        store,
      });
      const batch = { size: 5 };
      new Worker<Checked>('images', async (jobs) => jobs.map(() => ({ status: 'completed', value: { bytes: 1 } })), {
        store,
        batch,
      });
      // @ts-expect-error not a number
      new Worker<Checked>('images', async (jobs) => jobs.map(() => ({ status: 'completed', value: { bytes: '' } })), {
        store,
        batch,
      });
    });
  });

  it('of one kind of jobs', () => {
    unrun(async () => {
      const queue = new Queue<Payload<EmailAlias, number>>('emails', { store });
      expectTypeOf(await (await queue.add('x', { to: 'a', subject: 'b' })).waitUntilFinished()).toBeNumber();
      queue.observe('id').subscribe({ onCompleted: (_job, result) => expectTypeOf(result).toBeNumber() });
    });
  });
});

describe('a map or a payload', () => {
  type Unclear = { user: { id: number } };

  it('is not guessed: where it could be either, it must be said', () => {
    unrun(async () => {
      const queue = new Queue<Unclear>('users', { store });
      // @ts-expect-error a map or a payload?
      await queue.add('user', { id: 1 });
      // @ts-expect-error a map or a payload?
      await queue.add('any', { user: { id: 1 } });
      expectTypeOf<
        InputOf<Unclear>
      >().toEqualTypeOf<'Write JobMap<…> if the keys are names of jobs, or Payload<…> if this is the payload of every job.'>();
      // @ts-expect-error a map or a payload?
      new Worker<Unclear>('users', (job) => job.data.user, { store });
      await new Queue<JobMap<Unclear>>('users', { store }).add('user', { id: 1 });
      await new Queue<Payload<Unclear>>('users', { store }).add('any', { user: { id: 1 } });
    });
  });

  it('is clear where a payload cannot be a map', () => {
    unrun(async () => {
      interface Declared {
        user: { id: number };
      }
      await new Queue<Declared>('a', { store }).add('any', { user: { id: 1 } });
      await new Queue<{ user: { id: number }; tags: string[] }>('b', { store }).add('any', {
        user: { id: 1 },
        tags: [],
      });
      await new Queue<{ user: { id: number }; n: 1 }>('c', { store }).add('any', { user: { id: 1 }, n: 1 });
      await new Queue<{ at: Date }>('d', { store }).add('any', { at: new Date() });
      type Either = { created: { id: number } } | { deleted: { id: number } };
      await new Queue<Either>('e', { store }).add('any', { deleted: { id: 1 } });
    });
  });
});

describe('of whatever jobs', () => {
  it('workers, queues, flows, jobs and observables have a common type', () => {
    unrun(async () => {
      const worker = new Worker<Emails>('a', never, { store });
      const queue = new Queue<Emails>('a', { store });
      const workers: Worker[] = [worker, new Worker<string>('b', never, { store }), new Worker('c', never, { store })];
      const queues: Queue[] = [queue, new Queue<EmailPayload>('b', { store }), new Queue<null>('c', { store })];
      const flows: FlowProducer[] = [new FlowProducer({ store }), new FlowProducer<{ a: Emails }>({ store })];
      const jobs: Job[] = [await queue.add('welcome', { userId: 1 })];
      const observables: JobObservable[] = [new Queue<Payload<string, number>>('d', { store }).observe('x')];
      closeOnSignals(...workers, ...queues, ...flows, store);
      const close = (one: Worker | Queue) => one.close();
      await close(worker);
      await close(queue);
      // @ts-expect-error jobs of another kind
      const others: Queue<EmailPayload>[] = [new Queue<{ x: 1 }>('e', { store })];
      return [jobs, observables, others];
    });
  });
});

describe('flows', () => {
  type Queues = { mail: JobMap<{ welcome: { at: Date }; digest: { day: string } }>; texts: string };

  it('are checked by the jobs of their queues', () => {
    unrun(async () => {
      const flows = new FlowProducer<Queues>({ store });
      const { job, children } = await flows.add({
        name: 'welcome',
        queueName: 'mail',
        data: { at: new Date() },
        opts: { attempts: 3 },
        children: [{ name: 'any', queueName: 'texts', data: 'text' }],
      });
      if (job.queueName === 'mail' && job.name === 'welcome') expectTypeOf(job.data.at).toBeString();
      expectTypeOf(children).toEqualTypeOf<FlowNode<Queues>[] | undefined>();
      // @ts-expect-error the payload of another name
      await flows.add({ name: 'welcome', queueName: 'mail', data: { day: 'x' } });
      // @ts-expect-error no such name
      await flows.add({ name: 'goodbye', queueName: 'mail', data: { day: 'x' } });
      // @ts-expect-error no such queue
      await flows.add({ name: 'welcome', queueName: 'male', data: { at: new Date() } });
      const child = { name: 'b', queueName: 'texts', data: 5 } as const;
      // @ts-expect-error the payload of another queue, further down
      await flows.add({ name: 'a', queueName: 'texts', data: '', children: [child] });
    });
  });

  it('without a type take what JSON can hold', () => {
    unrun(async () => {
      const flows = new FlowProducer({ store });
      const any = {} as unknown;
      const leaf: FlowJob = { name: 'a', queueName: 'b', data: any };
      const address: EmailPayload = { to: { name: 'a', address: 'b' }, attachments: [] };
      await flows.add({ name: 'a', queueName: 'b', data: { at: new Date(), list: [1, null] }, children: [leaf] });
      await flows.add({ name: 'a', queueName: 'b', data: address });
      await flows.add(leaf);
      // @ts-expect-error a symbol
      await flows.add({ name: 'a', queueName: 'b', data: Symbol() });
      // @ts-expect-error a bigint, deep inside
      await flows.add({ name: 'a', queueName: 'b', data: { list: [{ n: 1n }] } });
      // @ts-expect-error a function, of a child
      await flows.add({ name: 'a', queueName: 'b', data: 1, children: [{ name: 'a', queueName: 'b', data: () => 1 }] });
      // @ts-expect-error a Map
      await flows.withTransaction(tx).add({ name: 'a', queueName: 'b', data: { map: new Map<string, string>() } });
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

  it('give a handler their output, and everything else their input', () => {
    unrun(() => {
      const dated = { remind: z.object({ at: z.iso.datetime().transform((text) => new Date(text)) }) };
      const worker = defineWorker(
        'dated',
        async (job) => {
          expectTypeOf(job.data).toEqualTypeOf<{ at: Date }>();
          await job.updateData({ at: '2026-01-01' });
        },
        { store, schemas: dated },
      );
      worker.on('active', (job) => expectTypeOf(job.data).toEqualTypeOf<{ at: string }>());
      const queue = defineQueue('dated', { store, schemas: dated });
      type Jobs = JobsOf<typeof queue>;
      new Worker<Jobs>('dated', (job) => expectTypeOf(job.data).toEqualTypeOf<{ at: string }>(), { store });
      new Worker<Jobs>('dated', (job) => expectTypeOf(job.data).toEqualTypeOf<{ at: Date }>(), {
        store,
        schemas: dated,
      });
      type Own = JobMap<{ remind: { at: Date }; other: { n: number } }>;
      const coerced = { remind: z.object({ at: z.coerce.date() }) };
      new Worker<Own>(
        'dated',
        (job) => {
          if (job.name === 'remind') expectTypeOf(job.data).toEqualTypeOf<{ at: Date }>();
        },
        { store, schemas: coerced },
      );
      // @ts-expect-error a handler of reminders would get a string
      new Worker<Own>('dated', never, { store, schemas: { other: z.object({ n: z.number() }) } });
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

describe('events', () => {
  it('of a store carry the data of their type', () => {
    unrun(async () => {
      store.subscribe('emails', (event) => {
        switch (event.type) {
          case 'job:progress':
            return expectTypeOf(event.data).toBeNumber();
          case 'job:failed':
            expectTypeOf(event.cancelled).toEqualTypeOf<boolean | undefined>();
            return expectTypeOf(event.data).toBeString();
          case 'job:completed':
            expectTypeOf(event.partial).toEqualTypeOf<boolean | undefined>();
            return expectTypeOf(event.data).toBeUnknown();
          case 'job:delayed':
            expectTypeOf(event.attemptsMade).toEqualTypeOf<number | undefined>();
            return expectTypeOf(event.data).toBeUndefined();
          case 'queue:paused':
            return expectTypeOf(event.data?.jobName).toEqualTypeOf<string | undefined>();
          default:
            // @ts-expect-error only of some types
            return event.partial;
        }
      });
      store.subscribe('emails', ({ type, data }) => type === 'job:progress' && expectTypeOf(data).toBeNumber());
      const head = { queueName: 'emails', jobId: 'x', timestamp: new Date() };
      await store.publish({ ...head, type: 'job:progress', data: 5 });
      // @ts-expect-error the data of 0.1.0
      await store.publish({ ...head, type: 'job:progress', data: { progress: 5 } });
    });
  });

  it('of a worker say how a job ended, or goes on', () => {
    unrun(() => {
      const worker = new Worker<Emails>('emails', never, { store });
      worker.on('failed', (event) => expectTypeOf(event).toEqualTypeOf<{ job: JobOf<Emails>; error: Error }>());
      worker.on('retrying', ({ job, error, attemptsMade, delay }) => {
        expectTypeOf(job).toEqualTypeOf<JobOf<Emails>>();
        expectTypeOf(error).toEqualTypeOf<Error>();
        expectTypeOf([attemptsMade, delay]).toEqualTypeOf<number[]>();
      });
    });
  });
});
