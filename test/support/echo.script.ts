// For harness.test.ts: prints its arguments, then each message that it receives.
const args = process.argv.slice(2);
console.log(JSON.stringify({ args }));
if (args[0] === 'fail') throw new Error('on purpose');

process.on('message', (message: { say?: string; exit?: number }) => {
  if (message.exit !== undefined) process.exit(message.exit);
  console.log(JSON.stringify(message));
});
