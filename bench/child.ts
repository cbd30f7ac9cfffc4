/** One scenario of one contender, in a process of its own: prints its figures as its last line, in JSON. */
import postgres from 'postgres';
import { CONTENDERS } from './contenders/index.js';
import { CURVES } from './curves/index.js';
import { PARTS, SCENARIOS } from './scenarios/index.js';
import type { Order } from './scenarios/scenario.js';
import { clock, postgresMeter } from './server/meter.js';

const order = JSON.parse(process.argv[2] ?? '') as Order;
const entry = CONTENDERS[order.contender];
const scenario = SCENARIOS[order.scenario] ?? PARTS[order.scenario] ?? CURVES[order.scenario];
if (!entry || !scenario) throw new Error(`no contender "${order.contender}", or no scenario "${order.scenario}"`);

const queue = await entry.load();
const meter =
  entry.server === 'postgres' && !(order.scenario in PARTS)
    ? await postgresMeter(postgres(order.address.postgres, { max: 1, onnotice() {} }))
    : clock;
await queue.open(order.address);
const figures = await scenario.run({ ...order, queue, meter });
console.log(JSON.stringify(figures));
// Not all contenders close at once, and there is nothing left to be closed properly: the database is dropped.
process.exit(0);
