/** How one statement went. `rows` is what it answered with; 0 when it failed. */
export interface StatementEvent {
  readonly name: string;
  /** From the call to the answer, retries included. */
  readonly ms: number;
  readonly rows: number;
  readonly error?: unknown;
}

export type OnStatement = (event: StatementEvent) => void;
