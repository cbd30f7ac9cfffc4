/** Resolves when this process is to end: by Ctrl-C, or because main.ts says so. */
export function untilStopped(): Promise<void> {
  // Without main.ts there is nothing to do here, and its database may be gone as well.
  process.once('disconnect', () => process.exit(1));
  process.channel?.unref();
  return new Promise((resolve) => {
    process.on('SIGINT', () => resolve());
    process.on('SIGTERM', () => resolve());
  });
}
