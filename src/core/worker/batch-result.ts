/** What a batch processor returns for each job, in the order of the jobs. */
export type BatchResult<R = unknown> =
  | { readonly status: 'completed'; readonly value?: R }
  | { readonly status: 'failed'; readonly error: unknown };
