/** Marks a type as a map from job names to payloads: `new Queue<JobMap<{ ping: string; welcome: Welcome }>>(…)`. */
export type JobMap<M extends object> = { readonly [K in keyof M]: M[K] } & { readonly '~jobMap'?: true };

/** Marks a type as the payload of every job, where it would otherwise be taken for a map of job names. */
export type Payload<T> = { readonly '~payload': T };

/** In a map: what `add` takes for a job, and what its schema makes of it. */
export type Checked<Input, Output> = { readonly '~input': Input; readonly '~output': Output };

/**
 * Whether `T` maps job names to payloads. It does when it is marked as `JobMap`, or when it is an object type written out
 * (not an interface, not a `Record<string, …>`) all of whose properties are objects; everything else is the payload of
 * any job.
 */
export type IsJobMap<T> = unknown extends T
  ? false
  : Marked<T> extends true
    ? true
    : '~payload' extends keyof T
      ? false
      : string extends keyof T
        ? false
        : Written<T>;
// `keyof Record<string, …>` has every name in it, this one too.
type Marked<T> = '~jobMap' extends keyof T
  ? unknown extends T['~jobMap']
    ? false
    : [T['~jobMap']] extends [true | undefined]
      ? true
      : false
  : false;
type Written<T> = [keyof T] extends [never]
  ? false
  : T extends readonly unknown[] | ((...args: never[]) => unknown) | Date
    ? false
    : T extends Record<string, object>
      ? true
      : false;

/** The names of `T`'s jobs. */
export type JobName<T> = IsJobMap<T> extends true ? Exclude<keyof T, '~jobMap'> & string : string;

type Entry<T, N extends string> = N extends keyof T ? T[N] : T[JobName<T> & keyof T];

/** What a job called `N` carries. */
export type DataOf<T, N extends string = string> =
  IsJobMap<T> extends true ? Output<Entry<T, N>> : T extends Payload<infer P> ? P : T;

/** What `add` takes for a job called `N`. */
export type InputOf<T, N extends string = string> = IsJobMap<T> extends true ? Input<Entry<T, N>> : DataOf<T>;

// `any` would match `Checked` and infer `unknown`; it stays `any`.
type Output<D> = unknown extends D ? D : D extends Checked<unknown, infer O> ? O : D;
type Input<D> = unknown extends D ? D : D extends Checked<infer I, unknown> ? I : D;
