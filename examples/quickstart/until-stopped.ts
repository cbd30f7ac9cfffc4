/** Resolves on SIGINT (Ctrl-C) or SIGTERM, which main.ts sends. */
export function untilStopped(): Promise<void> {
  // main.ts has died, and its database may be gone too.
  process.once('disconnect', () => process.exit(1));
  process.channel?.unref();
  return new Promise((resolve) => {
    process.on('SIGINT', () => resolve());
    process.on('SIGTERM', () => resolve());
  });
}
