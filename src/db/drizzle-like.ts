/**
 * Any Drizzle database or transaction, whichever driver, major version or copy of drizzle-orm made it: so public
 * signatures ask for what is used, not for a class.
 */
export interface DrizzleLike {
  // biome-ignore lint/suspicious/noExplicitAny: the SQL type differs between drizzle-orm's majors and copies
  execute(query: any): PromiseLike<unknown>;
}

/** One that can open a transaction: a database, not a transaction. */
export interface DrizzleTransactor extends DrizzleLike {
  // biome-ignore lint/suspicious/noExplicitAny: the transaction type differs between drivers and majors
  transaction<T>(work: (tx: any) => Promise<T>): Promise<T>;
}
