import { connect, createServer, type Socket } from 'node:net';
import { errorResponse, isFatal, type Message, splitMessages, statementName, textOf } from './wire-messages.js';

/** What becomes of a statement on its way. */
export type Verdict =
  | 'pass'
  /** The connection is cut before the statement is sent on. */
  | 'refuse'
  /** It is sent on, and the connection is cut at once. */
  | 'cut'
  /** It is sent on, and the connection is cut when the server has ended it: the answer is lost. */
  | 'lose'
  /** It is not sent on, and the answer is this SQLSTATE. */
  | { readonly sqlState: string };

export interface WireProxy {
  readonly url: string;
  /** Decides on each statement that is carried out, by its name (the comment that it begins with) or its text. */
  decide: (label: string) => Verdict;
  /** Connections that clients have open, each by what was last sent on it. */
  readonly open: () => string[];
  /** Whether the server has done all that was sent to it on connections that were cut. */
  readonly settled: () => boolean;
  close(): Promise<void>;
}

/** A proxy in front of Postgres that knows where statements begin and end (protocol 3, with or without preparing). */
export async function startWire(target: string): Promise<WireProxy> {
  const { hostname, port } = new URL(target);
  const links = new Set<Link>();
  const server = createServer((client) => {
    const link = new Link(client, connect(Number(port), hostname), (label) => proxy.decide(label));
    links.add(link);
    link.ended.then(() => links.delete(link));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(target);
  const address = server.address();
  url.port = String(typeof address === 'object' && address ? address.port : 0);
  const proxy: WireProxy = {
    url: url.href,
    decide: () => 'pass',
    open: () => [...links].filter(({ left }) => !left).map((link) => link.last),
    settled: () => ![...links].some(({ left }) => left),
    async close() {
      for (const link of links) link.cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}

const SYNC: Message = { type: 'S', bytes: Buffer.from([0x53, 0, 0, 0, 4]) };

/** One connection: from client to server by statements, from server to client by answers. */
class Link {
  /** Resolves when the server has closed its end. */
  readonly ended: Promise<void>;
  /** The client is gone, and the server still works on what was sent. */
  left = false;
  get last(): string {
    return this.#authenticated ? this.#label : 'nothing';
  }
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #decide: (label: string) => Verdict;
  readonly #labels = new Map<string, string>();
  /** Of the statements that were sent on, in order: what becomes of their answers. */
  readonly #answers: Verdict[] = [];
  #unit: Message[] = [];
  #label = '';
  #carriedOut = false;
  #authenticated = false;
  #rest: [Buffer, Buffer] = [Buffer.alloc(0), Buffer.alloc(0)];

  constructor(client: Socket, server: Socket, decide: (label: string) => Verdict) {
    this.#client = client;
    this.#server = server;
    this.#decide = decide;
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => this.left || this.cut());
    }
    this.ended = new Promise((resolve) => server.once('close', () => resolve()));
    client.on('data', (data) => this.#fromClient(data));
    server.on('data', (data) => this.#fromServer(data));
  }

  cut(): void {
    this.#client.destroy();
    this.#server.destroy();
  }

  #fromClient(data: Buffer): void {
    if (!this.#authenticated) {
      this.#server.write(data);
      return;
    }
    const { messages, rest } = splitMessages(Buffer.concat([this.#rest[0], data]));
    this.#rest[0] = rest;
    for (const message of messages) this.#take(message);
  }

  #take(message: Message): void {
    this.#unit.push(message);
    switch (message.type) {
      case 'P':
        this.#label = textOf(message);
        this.#labels.set(statementName(message), this.#label);
        return;
      case 'B':
        this.#label = this.#labels.get(statementName(message)) ?? '';
        return;
      case 'E':
        this.#carriedOut = true;
        return;
      case 'H': // the client waits for what it has sent so far, but nothing was carried out
      case 'X':
        this.#forward();
        return;
      case 'Q':
        this.#label = textOf(message);
        this.#carriedOut = true;
        this.#end();
        return;
      case 'S':
        this.#end();
    }
  }

  #forward(): void {
    this.#server.write(Buffer.concat(this.#unit.splice(0).map(({ bytes }) => bytes)));
  }

  /** A statement is complete, or nothing but a round trip is. */
  #end(): void {
    const verdict = this.#carriedOut ? this.#decide(this.#label) : 'pass';
    this.#carriedOut = false;
    if (verdict === 'refuse') {
      this.cut();
      return;
    }
    this.#answers.push(verdict);
    if (typeof verdict === 'object') this.#unit = [SYNC];
    this.#forward();
    if (verdict !== 'cut') return;
    this.left = true;
    this.#client.destroy();
    this.#server.end();
  }

  #fromServer(data: Buffer): void {
    if (!this.#authenticated && data[0] === 0x4e && data.length === 1) {
      this.#client.write(data); // no TLS
      return;
    }
    const { messages, rest } = splitMessages(Buffer.concat([this.#rest[1], data]));
    this.#rest[1] = rest;
    const out: Buffer[] = [];
    for (const { type, bytes } of messages) {
      const [verdict] = this.#answers;
      if (type !== 'Z') {
        if (verdict !== 'lose') out.push(bytes);
        continue;
      }
      if (!this.#authenticated) this.#authenticated = true;
      else this.#answers.shift();
      if (typeof verdict === 'object') out.push(errorResponse(verdict.sqlState));
      const over = verdict === 'lose' || (typeof verdict === 'object' && isFatal(verdict.sqlState));
      if (!over) out.push(bytes);
      if (!over) continue;
      this.#client.end(Buffer.concat(out));
      this.#server.destroy();
      return;
    }
    if (out.length > 0 && this.#client.writable) this.#client.write(Buffer.concat(out));
  }
}
