import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dashboard } from './create.js';

/** As Express changes a request: what is mounted under a path sees only the rest of it. */
type NodeRequest = IncomingMessage & { originalUrl?: string; body?: unknown };

export type NodeListener = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** The dashboard as a listener of `node:http`, which Express and its like take as well. */
export function toNodeListener(dashboard: Dashboard): NodeListener {
  return async (incoming, outgoing) => {
    const gone = new AbortController();
    outgoing.on('close', () => gone.abort());
    try {
      await send(await dashboard(await requestOf(incoming, gone.signal)), outgoing);
    } catch (error) {
      // The reader has left, or the request was no request: there is nobody to tell, or nothing to say.
      if (!outgoing.headersSent) outgoing.writeHead(error instanceof TypeError ? 400 : 500);
      outgoing.end();
    }
  };
}

async function requestOf(incoming: NodeRequest, signal: AbortSignal): Promise<Request> {
  const secure = 'encrypted' in incoming.socket && incoming.socket.encrypted === true;
  const host = incoming.headers.host ?? 'localhost';
  const path = (incoming.originalUrl ?? incoming.url ?? '/').replace(/^\/+/, '/');
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (name.startsWith(':') || value === undefined) continue;
    for (const each of [value].flat()) headers.append(name, each);
  }
  const { method = 'GET' } = incoming;
  const body = method === 'GET' || method === 'HEAD' ? null : await bodyOf(incoming);
  return new Request(`${secure ? 'https' : 'http'}://${host}${path}`, { method, headers, body, signal });
}

const MAX_BODY = 2_000_000;

async function bodyOf(incoming: NodeRequest): Promise<Uint8Array<ArrayBuffer> | string> {
  // A body parser was there before.
  if (incoming.readableEnded || incoming.body !== undefined) {
    return typeof incoming.body === 'string' ? incoming.body : JSON.stringify(incoming.body ?? null);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of incoming as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new TypeError('The body is too large.');
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}

async function send(response: Response, outgoing: ServerResponse): Promise<void> {
  outgoing.writeHead(response.status, [...response.headers].flat());
  if (!response.body || outgoing.req.method === 'HEAD') {
    await response.body?.cancel();
    outgoing.end();
    return;
  }
  outgoing.flushHeaders();
  const reader = response.body.getReader();
  outgoing.on('close', () => void reader.cancel().catch(() => {}));
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (!outgoing.write(value)) await drained(outgoing);
  }
  outgoing.end();
}

/** Until there is room for more, or nobody to send it to. */
const drained = (outgoing: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      outgoing.off('drain', done);
      outgoing.off('close', done);
      resolve();
    };
    outgoing.on('drain', done);
    outgoing.on('close', done);
  });
