import { CONTENDERS, type Entry } from '../contenders/index.js';
import type { Figures, Scenario, Sizes } from '../scenarios/scenario.js';
import { lacking, runOnce } from './run-once.js';

export interface Result {
  /** A set of figures per round. */
  readonly rounds: Figures[];
  /** Of a round of its own. */
  statements?: number;
  /** Why it has no figures, or fewer of them. */
  failure?: string;
}

export interface Plan {
  readonly server: string;
  readonly name: string;
  readonly scenario: Scenario;
  readonly contenders: readonly string[];
  readonly rounds: number;
  readonly sizes: Sizes;
  readonly timeoutSeconds: number;
  readonly x?: number;
}

export const takesPart = ({ needs, only }: Scenario, name: string): boolean =>
  (only?.includes(name) ?? true) && needs.every((feature) => (CONTENDERS[name] as Entry).features.includes(feature));

/** Runs a scenario for all contenders that take part, in rounds A B C A B C. A failing one does not end the run. */
export async function interleaved(plan: Plan): Promise<Record<string, Result>> {
  const able = plan.contenders.filter((name) => takesPart(plan.scenario, name));
  const results: Record<string, Result> = Object.fromEntries(able.map((name) => [name, { rounds: [] }]));
  const rounds = plan.scenario.once ? 1 : plan.rounds;
  for (let round = 0; round < rounds; round++) {
    for (const name of able) {
      await attempt(plan, name, results, async (run) => {
        (results[name] as Result).rounds.push(await runOnce({ ...run, count: plan.scenario.once ?? false }));
      });
    }
  }
  if (plan.scenario.counted && !plan.scenario.once) {
    for (const name of able.filter((each) => CONTENDERS[each]?.server === 'postgres')) {
      await attempt(plan, name, results, async (run) => {
        const { statementsPerJob } = await runOnce({ ...run, count: true });
        if (statementsPerJob !== undefined) (results[name] as Result).statements = statementsPerJob;
      });
    }
  }
  return results;
}

type Run = Parameters<typeof runOnce>[0];

async function attempt(plan: Plan, name: string, results: Record<string, Result>, work: (run: Run) => Promise<void>) {
  const result = results[name] as Result;
  if (result.failure) return;
  const lack = lacking(CONTENDERS[name] as Entry);
  const { server, sizes, timeoutSeconds, x } = plan;
  try {
    if (lack) throw new Error(lack);
    await work({ server, sizes, timeoutSeconds, x, contender: name, scenario: plan.name });
  } catch (error) {
    result.failure = (error as Error).message;
    console.error(`${plan.name}, ${name}: ${result.failure}`);
  }
}
