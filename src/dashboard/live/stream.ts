import { NOT_STORED } from '../security/headers.js';
import type { LiveHub } from './hub.js';

/** Changes of so many ms travel together. */
const TOGETHER = 300;
/** Shorter than any server or proxy takes for an idle connection: Bun closes one after 10 s. */
const HEARTBEAT = 8_000;

/**
 * Server-sent events: `hello`, which says whether events of other processes arrive, at first and when that changes; and
 * `change` with the queues in which something has happened.
 */
export function eventStream(hub: LiveHub, signal: AbortSignal): Response {
  const encoder = new TextEncoder();
  let end = () => {};
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const changed = new Set<string>();
        let timer: NodeJS.Timeout | undefined;
        const send = (text: string) => controller.enqueue(encoder.encode(text));
        const flush = () => {
          timer = undefined;
          // A reader that does not keep up gets one message for all that it has missed.
          if ((controller.desiredSize ?? 0) <= 0) timer = later(flush, TOGETHER);
          else {
            send(message('change', { queues: [...changed] }));
            changed.clear();
          }
        };
        const heartbeat = setInterval(() => (controller.desiredSize ?? 0) > 0 && send(': \n\n'), HEARTBEAT);
        heartbeat.unref?.();
        const remove = hub.add(
          (queueName) => {
            if (queueName === null) {
              send(message('hello', { listens: hub.listens }));
              return;
            }
            changed.add(queueName);
            timer ??= later(flush, TOGETHER);
          },
          () => end(),
        );
        let ended = false;
        end = () => {
          if (ended) return;
          ended = true;
          clearInterval(heartbeat);
          clearTimeout(timer);
          remove();
          try {
            controller.close();
          } catch {
            // The reader has cancelled it.
          }
        };
        send(message('hello', { listens: hub.listens }));
        if (signal.aborted) end();
        else signal.addEventListener('abort', () => end(), { once: true });
      },
      cancel: () => end(),
    },
    { highWaterMark: 16 },
  );
  const headers = { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no', ...NOT_STORED };
  return new Response(body, { headers });
}

const message = (event: string, data: object): string => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

function later(work: () => void, ms: number): NodeJS.Timeout {
  const timer = setTimeout(work, ms);
  timer.unref?.();
  return timer;
}
