import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  export interface ProvidedContext {
    /** A folder outside the repository, for this run: what is installed there finds nothing of ours by accident. */
    scratch: string;
  }
}

export default function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'conveyor-scratch-'));
  project.provide('scratch', folder);
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
