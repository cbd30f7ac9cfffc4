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

/** A change that a store announces to its subscribers, in this process and in others. */
export interface StoreEvent {
  type: StoreEventType;
  queueName: string;
  /** The job concerned; absent on most `queue:*` events. */
  jobId?: string;
  /** JSON whose shape depends on `type`, such as `{ progress }` of `job:progress`. */
  data?: unknown;
  /** When it was published, by the clock of the publishing process. */
  timestamp: Date;
}

/** Receives the events of one queue. What it throws goes to `onEventHandlerError` and stops no other callback. */
export type StoreEventCallback = (event: StoreEvent) => void;
