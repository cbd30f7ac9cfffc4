/** The shop over HTTP. It adds jobs and asks about them; workers are processes of their own. */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eq } from 'drizzle-orm';
import { close, db, store } from './db.js';
import { page } from './page.js';
import { OutOfStock, placeOrder } from './place-order.js';
import { retryReceipt } from './questions.js';
import { orders, products, receipts } from './schema.js';

interface Answer {
  status: number;
  /** An object becomes JSON, a text is HTML. */
  body: object | string;
}

const missing: Answer = { status: 404, body: { error: 'there is nothing here' } };

async function answer(request: IncomingMessage): Promise<Answer> {
  const [resource, id, verb] = new URL(request.url ?? '/', 'http://localhost').pathname.split('/').filter(Boolean);
  const does = `${request.method} ${resource ?? ''}`;
  if (does === 'GET ') return { status: 200, body: await page() };
  if (does === 'GET products') return { status: 200, body: await db.select().from(products) };
  if (does === 'PUT products' && id) {
    const { cents, stock } = await json<{ cents: number; stock: number }>(request);
    await db
      .insert(products)
      .values({ name: decodeURIComponent(id), cents, stock })
      .onConflictDoUpdate({ target: products.name, set: { cents, stock } });
    return { status: 200, body: {} };
  }
  if (does === 'POST orders' && id && verb === 'retry') {
    return { status: 200, body: { retried: await retryReceipt(Number(id)) } };
  }
  if (does === 'POST orders') {
    const { email, product } = await json<{ email: string; product: string }>(request);
    return { status: 201, body: await placeOrder(String(email), String(product)) };
  }
  if (does === 'PATCH orders' && id) {
    const { email } = await json<{ email: string }>(request);
    await db
      .update(orders)
      .set({ email })
      .where(eq(orders.id, Number(id)));
    return { status: 200, body: {} };
  }
  if (does === 'GET orders' && id) {
    const [order] = await db
      .select()
      .from(orders)
      .leftJoin(receipts, eq(receipts.orderId, orders.id))
      .where(eq(orders.id, Number(id)));
    return order ? { status: 200, body: { ...order.orders, receipt: order.receipts?.body ?? null } } : missing;
  }
  return missing;
}

async function json<T>(request: IncomingMessage): Promise<T> {
  let text = '';
  for await (const chunk of request) text += chunk;
  return JSON.parse(text) as T;
}

await store.connect();

const server = createServer((request, response) => {
  answer(request)
    .catch((error: Error): Answer => {
      if (error instanceof OutOfStock) return { status: 409, body: { error: error.message } };
      console.error(error);
      return { status: 500, body: { error: 'something went wrong' } };
    })
    .then(({ status, body }) => {
      const type = typeof body === 'string' ? 'text/html; charset=utf-8' : 'application/json';
      response.writeHead(status, { 'content-type': type });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    });
});
server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    server.close(() => void close());
    server.closeAllConnections();
  });
}
