import type { Jsonify } from './jsonify.js';

/**
 * Marks a type as a map from job names to what each carries: `new Queue<JobMap<{ ping: string; welcome: Welcome }>>(…)`.
 *
 * An entry is a payload, or `{ data, result }` with the types of the payload and of what the handler returns:
 * `JobMap<{ resize: { data: { file: string }; result: { bytes: number } } }>`. An entry with exactly these two keys is
 * always read like that; a payload that has them is written `Payload<{ data: …; result: … }>`.
 */
export type JobMap<M extends object> = { readonly [K in keyof M]: M[K] } & { readonly '~jobMap'?: true };

/**
 * Marks a type as a payload, where it could be taken for something else: for a map of job names, or, in a map, for
 * `{ data, result }`. `Result` is what the handler returns.
 */
export type Payload<T, Result = unknown> = { readonly '~payload': T; readonly '~result'?: Result };

/** In a map: what `add` takes for a job, and what its schema makes of it for the handler. */
export type Checked<Input, Output> = { readonly '~input': Input; readonly '~output': Output };

/** What a job carries where its type could be read in two ways. */
export type MapOrPayload =
  'Write JobMap<…> if the keys are names of jobs, or Payload<…> if this is the payload of every job.';

/** Whether `T` maps job names to payloads: only a `JobMap` does. Everything else is the payload of any job. */
export type IsJobMap<T> = unknown extends T
  ? false
  : '~jobMap' extends keyof T
    ? // `keyof Record<string, …>` has every name in it, this one too.
      unknown extends T['~jobMap']
      ? false
      : [T['~jobMap']] extends [true | undefined]
        ? true
        : false
    : false;

/**
 * Whether `T` looks like a map without being marked: an object type written out (not an interface, not a
 * `Record<string, …>`) all of whose properties are objects.
 */
type IsUnclear<T> = [T] extends [Marked | readonly unknown[] | ((...args: never[]) => unknown) | Date]
  ? false
  : [keyof T] extends [never]
    ? false
    : string extends keyof T
      ? false
      : [T] extends [Record<string, object>]
        ? true extends { [K in keyof T]: T[K] extends readonly unknown[] | Date ? true : false }[keyof T]
          ? false
          : true
        : false;
type Marked = Payload<unknown> | Checked<unknown, unknown>;

/** The names of `T`'s jobs. */
export type JobName<T> = IsJobMap<T> extends true ? Exclude<keyof T, '~jobMap'> & string : string;

/** What the type says of jobs called `N`: the entry of a map, or else all of it. */
type Entry<T, N extends string> = unknown extends T
  ? T
  : IsJobMap<T> extends true
    ? EntryOf<T, JobName<T> & N>
    : IsUnclear<T> extends true
      ? MapOrPayload
      : T;
type EntryOf<T, N extends string> = [N] extends [never] ? T[JobName<T> & keyof T] : T[N & keyof T];

/** What a job called `N` carries, as it is read: the JSON form of what `add` takes. */
export type DataOf<T, N extends string = string> = Jsonify<InputOf<T, N>>;

/** What `add` takes for a job called `N`. */
export type InputOf<T, N extends string = string> = Input<Entry<T, N>, IsJobMap<T>>;

/** What a worker with schemas hands to its handler for a job called `N`: what the schema makes of its data. */
export type OutputOf<T, N extends string = string> = Output<Entry<T, N>, IsJobMap<T>>;

/** What the handler of a job called `N` returns. */
export type ReturnOf<T, N extends string = string> = Return<Entry<T, N>, IsJobMap<T>>;

/** The result of a job called `N`, as it is read: the JSON form of what its handler returns. */
export type ResultOf<T, N extends string = string> = Jsonify<ReturnOf<T, N>>;

// `any` would match every form and infer `unknown`; it stays `any`.
type Input<E, InMap> = unknown extends E
  ? E
  : IsSpec<E, InMap> extends true
    ? Input<E['data' & keyof E], false>
    : E extends Checked<infer I, unknown>
      ? I
      : E extends Payload<infer P>
        ? P
        : E;
type Output<E, InMap> = unknown extends E
  ? E
  : IsSpec<E, InMap> extends true
    ? Output<E['data' & keyof E], false>
    : E extends Checked<unknown, infer O>
      ? O
      : E extends Payload<infer P>
        ? P
        : E;
type Return<E, InMap> = unknown extends E
  ? unknown
  : IsSpec<E, InMap> extends true
    ? E['result' & keyof E]
    : [E] extends [{ readonly '~payload': unknown; readonly '~result'?: infer R }]
      ? R
      : unknown;

/** Whether an entry of a map is `{ data, result }`. */
type IsSpec<E, InMap> = InMap extends true
  ? [keyof E] extends ['data' | 'result']
    ? ['data' | 'result'] extends [keyof E]
      ? true
      : false
    : false
  : false;
