import { connect, createServer, type Socket } from 'node:net';
import type { Random } from './random.js';

export interface Network {
  readonly url: string;
  /** From now on nothing passes on the connections there are, and no side gets an error; new ones hang as well. */
  freeze(): void;
  /** New connections work again; those from before stay dead. */
  thaw(): void;
  /** One-way delay in ms, and the share of pieces that are lost and sent again. */
  slow(delay: number, loss: number): void;
  /** The address belongs to another server: new connections go to it, those there are stay where they are. */
  retarget(target: string): void;
  close(): Promise<void>;
}

/** The first retransmission of TCP comes after this time, in ms; each further one after twice that of the one before. */
const RETRANSMISSION = 200;

/** A TCP proxy whose network delays, loses (as TCP shows it: what follows waits for the retransmission) or goes dead. */
export async function startNetwork(target: string, random: Random): Promise<Network> {
  let { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let [frozen, delay, loss] = [false, 0, 0];
  const pipe = (from: Socket, to: Socket, pair: { dead: boolean }) => {
    let free = 0; // when what was sent before has arrived
    sockets.add(from);
    from.setNoDelay(true);
    from.on('data', (data) => {
      if (frozen) pair.dead = true;
      if (pair.dead) return;
      let late = delay;
      for (let wait = RETRANSMISSION; loss > 0 && random.chance(loss); wait *= 2) late += wait;
      free = Math.max(free, performance.now() + late);
      const deliver = () => pair.dead || !to.writable || to.write(data);
      if (free <= performance.now()) deliver();
      else setTimeout(deliver, free - performance.now());
    });
    from.on('error', () => {});
    from.on('close', () => {
      sockets.delete(from);
      if (!pair.dead) to.destroy();
    });
  };
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    const pair = { dead: frozen };
    pipe(client, upstream, pair);
    pipe(upstream, client, pair);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(target);
  const address = server.address();
  url.port = String(typeof address === 'object' && address ? address.port : 0);
  return {
    url: url.href,
    freeze: () => {
      frozen = true;
    },
    thaw: () => {
      frozen = false;
    },
    slow: (ms, share) => {
      delay = ms;
      loss = share;
    },
    retarget: (other) => {
      ({ hostname, port } = new URL(other));
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
