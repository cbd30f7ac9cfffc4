type Callable = ((...args: never) => unknown) | (abstract new (...args: never) => unknown);
/** What JSON leaves out of an object, and replaces with null in an array. */
type Absent = undefined | symbol | Callable;
/**
 * Objects of which JSON keeps nothing that can be used; `add` refuses them, unless they have a `toJSON`. An Error is not
 * listed: every object with a name and a message would be one.
 */
type Exotic =
  | ReadonlyMap<never, unknown>
  | ReadonlySet<never>
  | WeakKeyed
  | ArrayBufferView
  | RegExp
  | PromiseLike<unknown>;
type WeakKeyed = WeakMap<never, unknown> | WeakSet<never>;
type HasToJson = { toJSON(...args: never): unknown };

/**
 * What comes back when a value of type `T` is stored as JSON and read again: a Date is a string, `toJSON` decides where
 * there is one, functions and symbols are left out, what may be undefined becomes optional, and what cannot be stored (a
 * bigint, a Map) is `never`. A type that JSON does not change is `T` itself, so that editors show its own name.
 */
export type Jsonify<T> = unknown extends T ? T : IsJson<T> extends true ? T : T extends unknown ? OfMember<T> : never;
type OfMember<T> = IsJson<T> extends true ? T : Read<T, true>;

/** Whether JSON gives back what it was given. */
export type IsJson<T> = [T] extends [Read<T, false>] ? ([Read<T, false>] extends [T] ? true : false) : false;

/** How the compiler explains what a payload must not contain. */
interface JsonCannotHoldThis {
  readonly '~instead': 'convert it first, or give it a toJSON method';
}

/**
 * What a value must also be to be storable as JSON: anything, but where it is a symbol, a bigint, a function or a Map.
 * Functions in objects pass, since a class's methods are no obstacle.
 */
export type Storable<T> = unknown extends T
  ? unknown
  : T extends HasToJson
    ? unknown
    : T extends symbol | bigint | Callable | Exotic
      ? JsonCannotHoldThis
      : T extends readonly (infer E)[]
        ? StorableItems<T, E>
        : T extends object
          ? { readonly [K in keyof T]: T[K] extends Callable ? unknown : Storable<T[K]> }
          : unknown;
type StorableItems<T extends readonly unknown[], E> = E[] extends T
  ? readonly Storable<E>[]
  : { readonly [I in keyof T]: Storable<T[I]> };

/**
 * `Named` keeps the names of inner types that JSON does not change. The comparison above is made without, because that
 * would compare recursive types endlessly.
 */
type Read<T, Named extends boolean> = Present<T, Named> | NullIfAbsent<T>;
type Inner<T, Named extends boolean> = Named extends true ? Jsonify<T> : Read<T, false>;

type NullIfAbsent<T> = T extends Absent ? null : T extends void ? null : never;

/** `T` without what JSON leaves out. */
type Present<T, Named extends boolean> = unknown extends T
  ? T
  : T extends string | number | boolean | null
    ? T
    : T extends HasToJson
      ? OfToJson<ReturnType<T['toJSON']>, Named>
      : T extends Absent | bigint | Exotic
        ? never
        : T extends readonly (infer E)[]
          ? Items<T, E, Named>
          : T extends object
            ? Fields<T, Named>
            : never;

// JSON calls toJSON once: of an object that it returns, only the fields count.
type OfToJson<J, Named extends boolean> = J extends HasToJson ? Fields<J, Named> : Inner<J, Named>;

// An array is not mapped like a tuple: `Inner<E>[]` is evaluated late, which recursive types need.
type Items<T extends readonly unknown[], E, Named extends boolean> = E[] extends T
  ? T extends E[]
    ? Inner<E, Named>[]
    : readonly Inner<E, Named>[]
  : { [I in keyof T]: OrUndefined<T[I], Named> };

// Mapped types stand in branches: one with a name of its own would be shown by that name.
type Fields<T, Named extends boolean> = true extends { [K in keyof T]-?: BecomesOptional<T, K> }[keyof T]
  ? Flat<
      { [K in keyof T as BecomesOptional<T, K> extends false ? K : never]: OrUndefined<T[K], Named> } & {
        [K in keyof T as BecomesOptional<T, K> extends true ? K : never]?: Inner<Exclude<T[K], Absent>, Named>;
      }
    >
  : { [K in keyof T as BecomesOptional<T, K> extends false ? K : never]: OrUndefined<T[K], Named> };
type Flat<T> = T extends unknown ? { [K in keyof T]: T[K] } : never;
type OrUndefined<V, Named extends boolean> = unknown extends V
  ? V
  : undefined extends V
    ? Inner<Exclude<V, Absent>, Named> | Extract<V, undefined>
    : Inner<V, Named>;

/** True for a required field that may be left out, null for one that always is. */
type BecomesOptional<T, K extends keyof T> = K extends symbol
  ? null
  : unknown extends T[K]
    ? false
    : [T[K]] extends [never]
      ? false
      : [T[K]] extends [Absent]
        ? null
        : Record<never, never> extends Pick<T, K>
          ? false
          : [Extract<T[K], Absent>] extends [never]
            ? false
            : true;
