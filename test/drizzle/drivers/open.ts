/** An app's Drizzle database over one of the drivers, and what tells whether the store left the driver alone. */
import { type SQL, sql } from 'drizzle-orm';

// biome-ignore lint/suspicious/noExplicitAny: each driver has a type of its own, and the scenario is for all of them
export type Database = any;

export interface OpenedDriver {
  db: Database;
  /** Connections that the app's client opens at most. */
  max: number;
  /** What the store must not change: it is compared before and after, by identity. */
  settings(): Map<unknown, unknown>;
  end(): Promise<void>;
}

/** As JSON may hold or a driver may be told to make of it: nothing that the store needs to understand. */
const odd = (text: string) => ({ odd: text });

export const drivers: Record<string, (url: string) => Promise<OpenedDriver>> = {
  'postgres.js': async (url) => postgresJs(url, {}),

  'postgres.js behind a pooler': async (url) => postgresJs(url, { prepare: false }),

  'postgres.js with types and transforms of the app': async (url) => {
    const { default: postgres } = await import('postgres');
    return postgresJs(url, {
      transform: {
        ...postgres.camel,
        undefined: null,
        value: { from: (value: unknown) => (typeof value === 'number' ? { number: value } : value) },
        row: { from: (row: object) => ({ seen: true, ...row, last: true }) },
      },
      types: {
        bigint: postgres.BigInt,
        bool: { to: 16, from: [16], serialize: String, parse: odd },
        date: { to: 1184, from: [1082, 1114, 1184], serialize: String, parse: odd },
        json: { to: 3802, from: [114, 3802], serialize: (value: unknown) => `[${JSON.stringify(value)}]`, parse: odd },
        float: { to: 701, from: [700, 701, 1700], serialize: String, parse: odd },
      },
    });
  },

  'node-postgres': async (url) => {
    const { default: pg } = await import('pg');
    const { drizzle } = await import('drizzle-orm/node-postgres');
    const pool = new pg.Pool({ connectionString: url, max: 3, application_name: 'app' });
    return {
      db: drizzle({ client: pool }),
      max: 3,
      settings: () => new Map(OIDS.map((oid) => [oid, pg.types.getTypeParser(oid as number)])),
      end: () => pool.end(),
    };
  },

  'node-postgres with parsers of the app': async (url) => {
    const { default: pg } = await import('pg');
    for (const oid of [16, 20, 114, 701, 1184, 3802]) pg.types.setTypeParser(oid as number, odd as never);
    return drivers['node-postgres']!(url);
  },

  'Neon serverless': async (url) => {
    const { neonConfig, Pool } = await import('@neondatabase/serverless');
    const { drizzle } = await import('drizzle-orm/neon-serverless');
    const proxy = await webSocketProxy(url);
    neonConfig.webSocketConstructor = proxy.WebSocket;
    neonConfig.wsProxy = () => `127.0.0.1:${proxy.port}/`;
    neonConfig.useSecureWebSocket = false;
    neonConfig.pipelineConnect = false;
    const pool = new Pool({ connectionString: url, max: 3, application_name: 'app' });
    const end = async () => {
      await pool.end();
      proxy.close();
    };
    return { db: drizzle({ client: pool }), max: 3, settings: () => new Map(), end };
  },

  PGlite: async () => {
    const { PGlite } = await import('@electric-sql/pglite');
    const { drizzle } = await import('drizzle-orm/pglite');
    const client = await PGlite.create();
    return {
      db: drizzle({ client }),
      max: 1,
      settings: () => new Map(Object.entries({ ...client.parsers, ...client.serializers })),
      end: () => client.close(),
    };
  },

  'Bun SQL': async (url) => {
    const { SQL: BunSql } = await import('bun' as string);
    const { drizzle } = await import('drizzle-orm/bun-sql' as string);
    const client = new BunSql(url, { max: 3 });
    return { db: drizzle({ client }), max: 3, settings: () => new Map(), end: () => client.end() };
  },
};

const OIDS = [16, 17, 20, 23, 25, 114, 700, 701, 1082, 1114, 1184, 1700, 3802, 1009, 199, 3807];

async function postgresJs(url: string, options: object): Promise<OpenedDriver> {
  const { default: postgres } = await import('postgres');
  const { drizzle } = await import('drizzle-orm/postgres-js');
  const client = postgres(url, { max: 3, onnotice: () => {}, connection: { application_name: 'app' }, ...options });
  const db = drizzle({ client });
  // Its own first connection asks for array types.
  await client`select 1`;
  const { parsers, serializers, transform } = client.options;
  const settings = () =>
    new Map<unknown, unknown>([
      ...Object.entries(parsers).map(([type, parser]) => [`parser of ${type}`, parser] as const),
      ...Object.entries(serializers).map(([type, serializer]) => [`serializer of ${type}`, serializer] as const),
      ...Object.entries(transform),
    ]);
  return { db, max: 3, settings, end: () => client.end() };
}

/** Neon's driver speaks to Postgres through a WebSocket: this is its other end. */
async function webSocketProxy(url: string) {
  const { default: WebSocket, WebSocketServer, createWebSocketStream } = await import('ws' as string);
  const { connect } = await import('node:net');
  const { hostname, port } = new URL(url);
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  server.on('connection', (socket: object) => {
    const client = createWebSocketStream(socket);
    const upstream = connect(Number(port) || 5432, hostname);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
    client.pipe(upstream).pipe(client);
  });
  await new Promise((resolve) => server.once('listening', resolve));
  return { WebSocket, port: server.address().port as number, close: () => server.close() };
}

/** Rows of a query of the app's, as arrays of what the driver makes of the columns. */
export async function rowsOf(db: Database, query: SQL): Promise<unknown[][]> {
  const result = await db.execute(query);
  const rows: object[] = Array.isArray(result) ? [...result] : result.rows;
  return rows.map((row) => Object.values(row));
}

export { sql };
