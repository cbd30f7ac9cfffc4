/** What the README says is so: its code compiles and runs, and its tables leave nothing out. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { globSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TUNING } from '../src/migrations/tuning.js';
import { useDatabase } from './support/database.js';
import { spawnScript } from './support/process.js';
