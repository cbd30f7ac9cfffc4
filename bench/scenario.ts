/** One scenario of one contender, in a process of its own: prints its figures as one line of JSON. */
import type { Contender } from './contender.js';
import { floor } from './floor.js';
import { Meter } from './meter.js';
import { ours } from './ours.js';
import { scenarios } from './scenarios.js';

const contenders: Record<string, () => Contender> = { conveyor: ours, floor };

const [, , name = 'conveyor', scenario = 'bulk', url = ''] = process.argv;
const make = contenders[name];
const run = scenarios[scenario];
if (!make || !run) throw new Error(`no contender "${name}", or no scenario "${scenario}"`);
const contender = make();
const meter = new Meter(url);
await contender.open(url);
const figures = await run({ contender, meter, url, concurrency: Number(process.env['CONCURRENCY'] ?? 100) });
console.log(JSON.stringify(figures));
await meter.close();
await contender.close();
