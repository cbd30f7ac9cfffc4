import type { JobOptions, JobState } from '../../model/job.js';
import type { DataOf, InputOf, JobName } from '../../model/job-types.js';
import type { Storable } from '../../model/jsonify.js';

/**
 * A job of a flow, with the jobs that run before it. `Queues` maps names of queues to their jobs, as `Queue` takes them;
 * without it any name and data will do.
 */
export type FlowJob<Queues = unknown> = unknown extends Queues
  ? FlowJobAs<string, string, unknown, Queues>
  : {
      [Q in keyof Queues & string]: {
        [N in JobName<Queues[Q]>]: FlowJobAs<Q, N, InputOf<Queues[Q], N>, Queues>;
      }[JobName<Queues[Q]>];
    }[keyof Queues & string];

interface FlowJobAs<Q extends string, N extends string, D, Queues> {
  name: N;
  queueName: Q;
  data: D;
  opts?: JobOptions;
  /** Run before this job; of any queues, to any depth. */
  children?: FlowJob<Queues>[];
}

/** A job of a flow that was added; its data is as it is stored. */
export type FlowNode<Queues = unknown> = unknown extends Queues
  ? FlowNodeAs<string, string, unknown, Queues>
  : {
      [Q in keyof Queues & string]: {
        [N in JobName<Queues[Q]>]: FlowNodeAs<Q, N, DataOf<Queues[Q], N>, Queues>;
      }[JobName<Queues[Q]>];
    }[keyof Queues & string];

interface FlowNodeAs<Q extends string, N extends string, D, Queues> {
  job: { id: string; name: N; queueName: Q; data: D; state: JobState };
  children?: FlowNode<Queues>[];
}

/** What `add` takes: of an untyped flow, all data must be such that JSON can hold it. */
export type FlowInput<F, Queues> = unknown extends Queues ? F & StorableFlow<F> : FlowJob<Queues>;
type StorableFlow<F> = {
  readonly [K in keyof F]: K extends 'data' ? Storable<F[K]> : K extends 'children' ? StorableFlows<F[K]> : unknown;
};
type StorableFlows<C> = C extends readonly unknown[] ? { readonly [I in keyof C]: StorableFlow<C[I]> } : unknown;
