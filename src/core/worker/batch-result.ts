/** What a batch processor returns for each job, in the order of the jobs. */
export type BatchResult =
  | { readonly status: 'completed'; readonly value?: unknown }
  | { readonly status: 'failed'; readonly error: unknown };
