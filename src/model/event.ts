/** Every type of event. `job:*` concerns one job, `queue:*` a whole queue. */
export const EVENT_TYPES = [
  'job:waiting',
  'job:waiting-children',
  'job:active',
  'job:completed',
  'job:failed',
  'job:progress',
  'job:stalled',
  'job:delayed',
  'job:removed',
  'job:cancelled',
  'queue:drained',
  'queue:paused',
  'queue:resumed',
  'queue:error',
] as const;
export type StoreEventType = (typeof EVENT_TYPES)[number];

/** `data` of an event, and what some types have beside it. Types that are not listed have no data. */
interface DetailsByType {
  'job:progress': {
    /** 0 to 100. */
    data: number;
  };
  'job:completed': {
    /** The result, as JSON has it. */
    data?: unknown;
    /** The result is too large for an event: `data` is absent, and the job's `returnvalue` has it. */
    partial?: boolean;
  };
  'job:failed': {
    /** The reason. */
    data: string;
    /** It failed because it was cancelled. */
    cancelled?: boolean;
  };
  'job:active': {
    data?: undefined;
    /** How many attempts have failed before this one; absent on the first. */
    attemptsMade?: number;
  };
  'job:waiting': RetryDetails;
  'job:delayed': RetryDetails;
  'queue:paused': PauseDetails;
  'queue:resumed': PauseDetails;
  'queue:error': { data?: unknown };
}

interface RetryDetails {
  data?: undefined;
  /** Only after an attempt that failed and is followed by another: how many have failed. */
  attemptsMade?: number;
  /** Likewise: why the last one failed. */
  failedReason?: string;
}

interface PauseDetails {
  /** The job name that is paused or resumed; without one, the whole queue. */
  data?: { jobName?: string | undefined };
}

/** What an event of a type has beside the fields that all of them have. */
export type EventDetails<Type extends StoreEventType> = Type extends keyof DetailsByType
  ? DetailsByType[Type]
  : { data?: undefined };

interface EventHead<Type extends StoreEventType> {
  type: Type;
  queueName: string;
  /** The job concerned; absent on most `queue:*` events. */
  jobId?: string;
  /** When it was published, by the clock of the publishing process. */
  timestamp: Date;
}

/**
 * A change that a store announces to its subscribers, in this process and in others: a union, so that `type` determines
 * what `data` is. An app's own events may have other data; it arrives as JSON has it.
 */
export type StoreEvent = { [Type in StoreEventType]: EventHead<Type> & EventDetails<Type> }[StoreEventType];

/** Receives the events of one queue. What it throws goes to `onEventHandlerError` and stops no other callback. */
export type StoreEventCallback = (event: StoreEvent) => void;
