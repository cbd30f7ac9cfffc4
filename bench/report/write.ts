import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { drawPlots, type Plot } from '../plots/index.js';
import { costTable, detailSections, failures, machineTable, scenariosTable, settingsTable } from './details.js';
import { between, marked, replaceBetween } from './markdown.js';
import { readmeSection } from './readme.js';
import { type CurveResults, FOLDER, type Results, readCurves, readResults } from './results.js';
import { goalsTable, mediansTable, ratiosTable } from './tables.js';

const REPORT = join(FOLDER, 'RESULTS.md');
const README = resolve(FOLDER, '../README.md');

/** Writes RESULTS.md, the plots, and the README's section if it has the markers for one. */
export async function writeReport(): Promise<void> {
  const results = readResults();
  const curves = readCurves();
  const plots = await drawPlots(results, curves);
  if (!results) return;
  const reading = existsSync(REPORT) ? between(readFileSync(REPORT, 'utf8'), 'reading') : undefined;
  writeFileSync(REPORT, report(results, curves, plots, reading || 'Not written yet.'));
  const readme = readFileSync(README, 'utf8');
  writeFileSync(README, replaceBetween(readme, 'bench', readmeSection(results)));
}

function report(results: Results, curves: CurveResults | undefined, plots: readonly Plot[], reading: string): string {
  const sections = [
    '# Results of the bench',
    'Written by `npm run report` from [RESULTS.json](RESULTS.json)' +
      `${curves ? ' and [CURVES.json](CURVES.json)' : ''}; only the reading is written by hand. ` +
      '[README.md](README.md) says how to repeat it.',
    '## Reading',
    marked('reading', reading),
    '## Goals',
    goalsTable(results),
    '## Ratios to the best peer on Postgres',
    ratiosTable(results),
    '## Medians',
    'Below each median: the lowest and the highest round.',
    mediansTable(results),
    '## Cost of a job',
    'The server’s own counters, which other load on the machine does not move. Statements are what clients send.',
    costTable(results),
    '## Details',
    ...detailSections(results),
    '## Plots',
    ...plots.map(({ path, title }) => `![${title}](${path})`),
    '## What did not run',
    failures(results),
    '## What was run',
    scenariosTable(results),
    settingsTable(),
    machineTable(results),
    ...(curves
      ? [
          `The curves were measured at ${curves.machine.at.slice(0, 16).replace('T', ' ')} UTC, commit ${curves.machine.commit}.`,
        ]
      : []),
  ];
  return `${sections.join('\n\n')}\n`;
}
