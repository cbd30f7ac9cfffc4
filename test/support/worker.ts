// In every test process: when the run is killed, a test that is under way does not live on without it.
process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
