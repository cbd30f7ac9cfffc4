import { describe, expect, it } from 'vitest';
import { generateId, generateWorkerId } from '../../src/model/ids.js';

describe('ids', () => {
  it('generates UUIDs v7 that ascend, also within a millisecond', () => {
    const ids = Array.from({ length: 20_000 }, generateId);
    expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.toSorted()).toEqual(ids);
  });

  it('begins with the time', () => {
    const before = Date.now();
    const time = Number.parseInt(generateId().replaceAll('-', '').slice(0, 12), 16);
    expect(time).toBeGreaterThanOrEqual(before);
    // Under a burst the generator may run a little ahead of the clock, never behind it.
    expect(time).toBeLessThan(Date.now() + 1000);
  });

  it('names workers', () => {
    expect(generateWorkerId()).toMatch(/^worker-[0-9a-f-]{36}$/);
    expect(generateWorkerId()).not.toBe(generateWorkerId());
  });
});
