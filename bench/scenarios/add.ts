import { type AddOptions, payload } from '../contenders/contender.js';
import type { Context, Figures, Scenario } from './scenario.js';

/** Jobs per call of `addBulk`. */
const CHUNK = 1_000;

export async function addAll(
  { queue }: Context,
  count: number,
  options: AddOptions & { bytes?: number } = {},
): Promise<void> {
  for (let i = 0; i < count; i += CHUNK) {
    const size = Math.min(CHUNK, count - i);
    await queue.addBulk(
      Array.from({ length: size }, (_, k) => payload(i + k, options.bytes)),
      options,
    );
  }
}

export const bulk: Scenario = {
  what: '20,000 jobs by addBulk of 1,000',
  figure: 'perSecond',
  unit: 'jobs/s',
  needs: [],
  counted: true,
  async run(context): Promise<Figures> {
    const before = await context.meter.read();
    await addAll(context, context.sizes.jobs);
    return context.meter.since(before, context.sizes.jobs);
  },
};

export const single: Scenario = {
  what: '5,000 calls of add, 32 at a time, each awaited',
  figure: 'perSecond',
  unit: 'jobs/s',
  needs: [],
  counted: true,
  async run({ queue, meter, sizes }): Promise<Figures> {
    let next = 0;
    const before = await meter.read();
    await Promise.all(
      Array.from({ length: sizes.inFlight }, async () => {
        while (next < sizes.singles) await queue.addOne(payload(next++));
      }),
    );
    return meter.since(before, sizes.singles);
  },
};
