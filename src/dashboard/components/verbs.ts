import type { JobState } from '../../model/job.js';

/** What can be done to a job by hand, and in which states. */
export const JOB_VERBS = ['retry', 'promote', 'cancel', 'remove'] as const;
export type JobVerb = (typeof JOB_VERBS)[number];

const STATES: Readonly<Record<JobVerb, readonly JobState[]>> = {
  retry: ['failed'],
  promote: ['delayed'],
  cancel: ['waiting', 'waiting-children', 'delayed', 'active'],
  remove: ['waiting', 'waiting-children', 'delayed', 'active', 'completed', 'failed'],
};

export const VERB_WORDS: Readonly<Record<JobVerb, string>> = {
  retry: 'Retry',
  promote: 'Run now',
  cancel: 'Cancel',
  remove: 'Remove',
};

/** The verbs that a job in this state takes; without a state, all. */
export const verbsOf = (state: JobState | undefined): JobVerb[] =>
  JOB_VERBS.filter((verb) => state === undefined || STATES[verb].includes(state));
