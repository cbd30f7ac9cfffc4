import { connect, createServer, type Socket } from 'node:net';

export interface Proxy {
  /** The given URL by way of this proxy. */
  url: string;
  /** From now on nothing passes in either direction, and neither side gets an error: a half-open connection. */
  freeze(): void;
  /** Whether data has been dropped since. */
  frozen(): boolean;
  /** New connections work; frozen ones stay as they are. */
  thaw(): void;
  /** Breaks all connections, and from now on each new one: the server is unreachable. */
  cut(): void;
  /** How many connections were broken before they began, so far. */
  refused(): number;
  /** The server is reachable again. */
  mend(): void;
  close(): Promise<void>;
}

/** A TCP proxy in front of a database, to make its network fail. */
export async function startProxy(target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let frozen = false;
  let away = false;
  let swallowed = false;
  let refused = 0;
  const server = createServer((client) => {
    if (away) {
      refused++;
      client.destroy();
      return;
    }
    const upstream = connect(Number(port), hostname);
    const pair = { frozen };
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('data', (data) => {
        if (frozen) {
          pair.frozen = true;
          swallowed = true;
        }
        if (!pair.frozen) to.write(data);
      });
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        if (!pair.frozen) to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(target);
  const address = server.address();
  url.hostname = '127.0.0.1';
  url.port = String(typeof address === 'object' && address ? address.port : 0);
  return {
    url: url.href,
    frozen: () => swallowed,
    refused: () => refused,
    freeze: () => {
      frozen = true;
    },
    thaw: () => {
      frozen = false;
    },
    cut: () => {
      away = true;
      for (const socket of sockets) socket.destroy();
    },
    mend: () => {
      away = false;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
