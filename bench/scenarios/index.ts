import { bulk, single } from './add.js';
import { events, subscriber } from './events.js';
import { groups, groupsFew, groupsShort } from './groups.js';
import { idle } from './idle.js';
import { importing } from './import.js';
import { latency, latencyTwo, starts } from './latency.js';
import { memory } from './memory.js';
import { backlog, pinned, processing, removed } from './process.js';
import { scaleOut, worker } from './scale-out.js';
import type { Scenario } from './scenario.js';

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  bulk,
  single,
  process: processing,
  removed,
  latency,
  'latency-two': latencyTwo,
  'scale-out': scaleOut,
  backlog,
  pinned,
  groups,
  'groups-few': groupsFew,
  'groups-short': groupsShort,
  events,
  idle,
  import: importing,
  memory,
};

/** What scenarios run in further processes. */
export const PARTS: Readonly<Record<string, Scenario>> = {
  'part:starts': starts,
  'part:worker': worker,
  'part:subscriber': subscriber,
};
