import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Result } from '../run/interleaved.js';
import type { Machine } from '../run/machine.js';
import type { Sizes } from '../scenarios/scenario.js';

/** RESULTS.json: what was measured, round by round. */
export interface Results {
  machine: Machine;
  sizes: Sizes;
  rounds: number;
  /** By scenario and contender. */
  scenarios: Record<string, Record<string, Result>>;
}

/** CURVES.json: by curve, by abscissa, by contender. */
export interface CurveResults {
  machine: Machine;
  curves: Record<string, Record<string, Record<string, Result>>>;
}

export const FOLDER = resolve(import.meta.dirname, '..');
const RESULTS = resolve(FOLDER, 'RESULTS.json');
const CURVES = resolve(FOLDER, 'CURVES.json');

const read = <T>(path: string): T | undefined =>
  existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T) : undefined;
const write = (path: string, value: unknown) => writeFileSync(path, `${JSON.stringify(value, rounded, 1)}\n`);
const rounded = (_key: string, value: unknown) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;

export const readResults = (): Results | undefined => read(RESULTS);
export const readCurves = (): CurveResults | undefined => read(CURVES);
export const writeResults = (results: Results): void => write(RESULTS, results);
export const writeCurves = (results: CurveResults): void => write(CURVES, results);
