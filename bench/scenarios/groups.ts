import { addAll } from './add.js';
import type { Scenario } from './scenario.js';
import { processFirst } from './work.js';

/** Groups and jobs of each, as shares of the sizes of the bench. */
function grouped(what: string, groupsShare: number, jobsShare: number): Scenario {
  return {
    what,
    figure: 'startedPerSecond',
    unit: 'jobs/s',
    needs: ['groups'],
    async run(context) {
      const { sizes } = context;
      const groups = sizes.groups * groupsShare;
      const jobs = groups * sizes.jobsPerGroup * jobsShare;
      await addAll(context, jobs, { groupOf: (n) => `group-${n % groups}` });
      return processFirst(context, Math.min(sizes.groupJobs, jobs), { groups: true });
    },
  };
}

export const groups = grouped('the first 20,000 jobs of 1,000 groups of 100, two at once of each', 1, 1);
export const groupsFew = grouped('the same of 100 groups of 1,000', 0.1, 10);
export const groupsShort = grouped('the same of 1,000 groups of 20', 1, 0.2);
