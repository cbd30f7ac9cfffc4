import { describe, expect, it } from 'vitest';
import * as core from '../../src/core/index.js';
import * as root from '../../src/index.js';

const CLASSES = ['Queue', 'Worker', 'Job', 'FlowProducer', 'JobObservable', 'EventBus'];
const HELPERS = [
  ...['createJobData', 'parseDelay', 'hashPayload', 'calculateBackoff', 'generateId', 'generateWorkerId'],
  ...['validateQueueName', 'validateTimezone', 'assertJobState', 'closeOnSignals'],
];
const VALUES = ['JOB_STATES', 'noopLogger', 'consoleLogger'];
const ERRORS = [
  ...['ConveyorError', 'JobNotFoundError', 'InvalidJobStateError', 'MetricsDisabledError', 'LeaseLostError'],
  ...['InvalidPayloadError', 'SchemaError', 'ConnectionError'],
];

describe.each([
  ['the root', root],
  ['./core', core],
])('%s', (_name, exports) => {
  const all = exports as unknown as Record<string, unknown>;

  it.each([...CLASSES, ...HELPERS])('has %s', (name) => expect(all[name]).toBeTypeOf('function'));

  it.each(VALUES)('has %s', (name) => expect(all[name]).toBeTypeOf('object'));

  it.each(ERRORS)('has %s, a ConveyorError named like its class', (name) => {
    const { prototype } = all[name] as { prototype: unknown };
    expect(prototype instanceof root.ConveyorError || name === 'ConveyorError').toBe(true);
    expect((all[name] as { name: string }).name).toBe(name);
  });
});
