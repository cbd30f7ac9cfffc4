/** `npm run report` in this folder: RESULTS.md, the plots and the README's section, from what was measured last. */
import { writeReport } from './report/write.js';

await writeReport();
