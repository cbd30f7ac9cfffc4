/** Marks a type as a map from job names to payloads: `new Queue<JobMap<{ ping: string; welcome: Welcome }>>(…)`. */
export type JobMap<M extends object> = { readonly [K in keyof M]: M[K] } & { readonly '~jobMap'?: true };

/** Marks a type as the payload of every job, where it would otherwise be taken for a map of job names. */
export type Payload<T> = { readonly '~payload': T };

/**
 * Whether `T` maps job names to payloads. It does when it says so (`JobMap`), or when it is an object type written out
 * (not an interface) all of whose properties are objects; everything else is the payload of any job.
 */
export type IsJobMap<T> = unknown extends T
  ? false
  : '~jobMap' extends keyof T
    ? true
    : '~payload' extends keyof T
      ? false
      : Written<T>;
type Written<T> = [keyof T] extends [never]
  ? false
  : T extends readonly unknown[] | ((...args: never[]) => unknown) | Date
    ? false
    : T extends Record<string, object>
      ? true
      : false;

/** The names of `T`'s jobs. */
export type JobName<T> = IsJobMap<T> extends true ? Exclude<keyof T, '~jobMap'> & string : string;

/** What a job called `N` carries. */
export type DataOf<T, N extends string = string> =
  IsJobMap<T> extends true ? (N extends keyof T ? T[N] : T[JobName<T> & keyof T]) : T extends Payload<infer P> ? P : T;
