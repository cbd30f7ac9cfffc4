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

export interface StoreEvent {
  type: StoreEventType;
  queueName: string;
  jobId?: string;
  data?: unknown;
  timestamp: Date;
}

export type StoreEventCallback = (event: StoreEvent) => void;
