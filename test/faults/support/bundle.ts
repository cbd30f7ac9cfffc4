import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';

/** The worker process and all that it imports as one file, which starts in a tenth of a second. */
export async function bundleWorker(): Promise<{ script: string; remove(): void }> {
  const folder = mkdtempSync(join(tmpdir(), 'conveyor-faults-'));
  const script = join(folder, 'worker.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'worker.process.ts')],
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    keepNames: true,
    logLevel: 'error',
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  });
  return { script, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
