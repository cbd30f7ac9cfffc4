import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    globalSetup: ['test/support/global-setup.ts', 'test/support/scratch-setup.ts'],
    setupFiles: ['test/support/worker.ts'],
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, 'test/package/fixtures/**'],
    pool: 'forks',
    // More than the two cores that they are made for: much of a test's time is waiting.
    maxWorkers: 3,
    fileParallelism: true,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
