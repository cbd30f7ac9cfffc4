import { describe, expect, it } from 'vitest';
import { EVENT_TYPES, type StoreEvent } from '../../src/model/event.js';
import {
  channelOf,
  Decoder,
  encodeMessage,
  MAX_PAYLOAD_BYTES,
  type OutgoingMessage,
} from '../../src/store/events/wire.js';
import { encodeCompleted, encodeEvent, encodeStoreEvent } from '../../src/store/events/wire-event.js';

const message = (more: Partial<OutgoingMessage> = {}): OutgoingMessage => ({
  queueName: 'q',
  events: [],
  wake: false,
  dueIn: null,
  ...more,
});

/** What another process makes of a message. */
function received(sent: OutgoingMessage, decoder = new Decoder('receiver')) {
  return encodeMessage('sender', sent).flatMap((payload) => decoder.decode(payload) ?? []);
}

const event = (id: string, data: unknown) => encodeEvent('job:completed', id, 1_000, { data });

describe('a message', () => {
  it('comes back as it was sent', () => {
    const events = EVENT_TYPES.map((type, i) => ({
      type,
      queueName: 'q "ü"',
      timestamp: new Date(i),
      ...(i % 2 === 0 && { jobId: `job ${i}` }),
      ...(i % 3 === 0 && { data: { text: '"quoted" ü', list: [1, null] } }),
    })) as StoreEvent[];
    const sent = message({ queueName: 'q "ü"', events: events.map(encodeStoreEvent), wake: true, dueIn: 12.4 });
    expect(received(sent)).toEqual([{ queueName: 'q "ü"', events, wake: true, dueIn: 12 }]);
  });

  it('of a wake-up alone is one payload', () => {
    expect(received(message({ wake: true }))).toEqual([message({ wake: true })]);
    expect(received(message({ dueIn: 0 }))).toEqual([message({ dueIn: 0 })]);
  });

  it('is not read by its own sender, whole or in parts', () => {
    const decoder = new Decoder('sender');
    expect(received(message({ wake: true }), decoder)).toEqual([]);
    expect(received(message({ events: [event('a', 'x'.repeat(20_000))] }), decoder)).toEqual([]);
  });

  it('with an invalid time or data that JSON cannot hold stays readable', () => {
    const cycle: Record<string, unknown> = { size: 1n };
    cycle['self'] = cycle;
    const bad = encodeStoreEvent({
      type: 'job:completed',
      queueName: 'q',
      timestamp: new Date(Number.NaN),
      data: cycle,
    });
    const events = received(message({ events: [bad, event('after', 1)] })).flatMap((one) => one.events);
    expect(events[0]).toMatchObject({ type: 'job:completed', timestamp: new Date(0) });
    expect(events[1]).toMatchObject({ jobId: 'after', data: 1 });
  });
});

describe('what an event carries', () => {
  const head = { queueName: 'q', jobId: 'a', timestamp: new Date(1_000) };
  const decoded = (text: string) => received(message({ events: [text] }))[0]?.events[0];
  const looksLikeDetails = [
    { partial: true },
    { progress: 5 },
    { returnvalue: 1 },
    { failedReason: 'x' },
    { failedReason: 'x', cancelled: true },
  ];

  it.each<StoreEvent>([
    { ...head, type: 'job:progress', data: 12.5 },
    { ...head, type: 'job:completed', data: null },
    { ...head, type: 'job:completed', data: 'text' },
    ...looksLikeDetails.map((data): StoreEvent => ({ ...head, type: 'job:completed', data })),
    ...looksLikeDetails.map((data) => ({ ...head, type: 'job:progress', data }) as unknown as StoreEvent),
    { ...head, type: 'job:completed', partial: true },
    { ...head, type: 'job:completed' },
    { ...head, type: 'job:failed', data: 'why' },
    { ...head, type: 'job:failed', data: 'why', cancelled: true },
    { ...head, type: 'job:delayed', attemptsMade: 2, failedReason: 'why' },
    { ...head, type: 'job:active', attemptsMade: 1 },
    { ...head, type: 'job:waiting', attemptsMade: 1, failedReason: '' },
    { ...head, type: 'job:waiting' },
    { ...head, type: 'queue:paused', data: { jobName: 'x' } },
    { ...head, type: 'queue:error', data: [1] },
  ])('%j is the same in another process', (sent) => {
    expect(decoded(encodeStoreEvent(sent))).toEqual(sent);
  });

  it('a result that is JSON text already', () => {
    expect(decoded(encodeCompleted('a', 1_000, '{"partial":true}'))).toEqual({
      ...head,
      type: 'job:completed',
      data: { partial: true },
    });
    expect(decoded(encodeCompleted('a', 1_000, undefined))).toEqual({ ...head, type: 'job:completed', partial: true });
  });

  it.each<[string, object]>([
    ['[5,"a",1000,{"progress":40}]', { type: 'job:progress', data: 40 }],
    ['[3,"a",1000,{"returnvalue":{"partial":true}}]', { type: 'job:completed', data: { partial: true } }],
    ['[3,"a",1000,{"partial":true}]', { type: 'job:completed', partial: true }],
    ['[4,"a",1000,{"failedReason":"why"}]', { type: 'job:failed', data: 'why' }],
    ['[4,"a",1000,{"failedReason":"why","cancelled":true}]', { type: 'job:failed', data: 'why', cancelled: true }],
    [
      '[0,"a",1000,{"failedReason":"why","attemptsMade":1}]',
      { type: 'job:waiting', attemptsMade: 1, failedReason: 'why' },
    ],
    ['[7,"a",1000]', { type: 'job:delayed' }],
    // Published by an app itself.
    ['[5,"a",1000,40]', { type: 'job:progress', data: 40 }],
    ['[3,"a",1000,{"ok":1}]', { type: 'job:completed', data: { ok: 1 } }],
    ['[4,"a",1000,"why"]', { type: 'job:failed', data: 'why' }],
    ['[0,"a",1000,["own"]]', { type: 'job:waiting', data: ['own'] }],
  ])('version 0.1.0 sends %s', (text, expected) => {
    expect(decoded(text)).toEqual({ ...head, ...expected });
  });

  it('is encoded as version 0.1.0 reads it', () => {
    expect(encodeEvent('job:progress', 'a', 1, { data: 40 })).toBe('[5,"a",1,{"progress":40}]');
    expect(encodeCompleted('a', 1, '[1]')).toBe('[3,"a",1,{"returnvalue":[1]}]');
    expect(encodeCompleted('a', 1, undefined)).toBe('[3,"a",1,{"partial":true}]');
    expect(encodeEvent('job:failed', 'a', 1, { data: 'x' })).toBe('[4,"a",1,{"failedReason":"x"}]');
    expect(encodeEvent('job:failed', 'a', 1, { data: 'x', cancelled: true })).toBe(
      '[4,"a",1,{"failedReason":"x","cancelled":true}]',
    );
    expect(encodeEvent('job:delayed', 'a', 1, { attemptsMade: 2, failedReason: 'x' })).toBe(
      '[7,"a",1,{"failedReason":"x","attemptsMade":2}]',
    );
    expect(encodeEvent('job:active', 'a', 1)).toBe('[2,"a",1]');
  });
});

describe('sizes', () => {
  it('fills payloads with whole events, in order', () => {
    const ids = Array.from({ length: 500 }, (_, i) => `job-${i}`);
    const sent = message({ events: ids.map((id) => event(id, 'ü'.repeat(20))) });
    const payloads = encodeMessage('sender', sent);
    expect(payloads.length).toBeGreaterThan(1);
    for (const payload of payloads) {
      expect(Buffer.byteLength(payload)).toBeLessThanOrEqual(MAX_PAYLOAD_BYTES);
      expect(payload.startsWith('{')).toBe(true);
    }
    expect(received(sent).flatMap(({ events }) => events.map(({ jobId }) => jobId))).toEqual(ids);
  });

  // The largest event that fits, and the ones just around it.
  it.each(Array.from({ length: 40 }, (_, i) => 7_840 + i * 2))('an event of about %i bytes arrives', (size) => {
    const data = 'x'.repeat(size);
    const sent = message({ events: [event('a', data)] });
    for (const payload of encodeMessage('sender', sent)) {
      expect(Buffer.byteLength(payload)).toBeLessThanOrEqual(MAX_PAYLOAD_BYTES);
    }
    expect(received(sent)).toMatchObject([{ events: [{ data }] }]);
  });

  it('splits what does not fit, between any two bytes of a character', () => {
    const data = '€'.repeat(50_000);
    const sent = message({
      events: [event('before', 1), event('large', data), event('after', 2)],
      wake: true,
    });
    const payloads = encodeMessage('sender', sent);
    expect(payloads.length).toBeGreaterThan(20);
    for (const payload of payloads) expect(Buffer.byteLength(payload)).toBeLessThan(8_000);
    const messages = received(sent);
    expect(messages.flatMap(({ events }) => events.map((event) => event.jobId))).toEqual(['before', 'large', 'after']);
    expect(messages[1]!.events[0]!.data).toBe(data);
  });

  it('with the longest queue name and id a wake-up still fits', () => {
    const sent = message({ queueName: 'ü'.repeat(127), events: [event('i'.repeat(255), undefined)], wake: true });
    expect(received(sent)).toHaveLength(1);
  });
});

describe('Decoder', () => {
  const large = (source: string, text: string) =>
    encodeMessage(source, message({ events: [event(text, text.repeat(8_000))] }));

  it('joins the parts of several senders that arrive mixed', () => {
    const decoder = new Decoder('receiver');
    const one = large('one', '1');
    const two = large('two', '2');
    expect(one.length).toBeGreaterThan(1);
    const mixed = one.flatMap((part, i) => [part, two[i] as string]);
    const events = mixed.flatMap((payload) => decoder.decode(payload)?.events ?? []);
    expect(events.map(({ jobId }) => jobId)).toEqual(['1', '2']);
  });

  it('keeps a bounded number of incomplete messages', () => {
    const decoder = new Decoder('receiver');
    const [first, ...rest] = large('first', '1');
    decoder.decode(first as string);
    for (let i = 0; i < 16; i++) decoder.decode(large(`other ${i}`, 'x')[0] as string);
    expect(rest.flatMap((part) => decoder.decode(part) ?? [])).toEqual([]);
    expect(large('next', 'y').flatMap((part) => decoder.decode(part) ?? [])).toHaveLength(1);
  });

  it.each(['', 'hello', 'null', '5', '[]', '[1]', '{}', '{"s":"x"}', '{"q":5}'])(
    'ignores %j, which is not a message',
    (payload) => {
      expect(new Decoder('receiver').decode(payload)).toBeUndefined();
    },
  );

  it('reads what it can of a message that is not as it should be', () => {
    const decode = (payload: string) => new Decoder('receiver').decode(payload);
    expect(decode('{"q":"q","e":5,"b":true,"d":"soon"}')).toEqual(message());
    expect(decode('{"q":"q","e":[null,5,[1,"a",0]],"b":1}')).toMatchObject({
      events: [{ type: EVENT_TYPES[1], jobId: 'a' }],
      wake: true,
    });
  });

  it('ignores events of a type that only a newer version knows', () => {
    expect(new Decoder('receiver').decode('{"q":"q","e":[[99,"a",0],[0,"b",0]]}')?.events).toMatchObject([
      { type: EVENT_TYPES[0], jobId: 'b' },
    ]);
  });
});

describe('channelOf', () => {
  it('is readable where it can be', () => {
    expect(channelOf('mails', undefined)).toBe('conveyor:mails');
    expect(channelOf('mails', 'public')).toBe('conveyor:mails');
  });

  it('is an identifier of at most 63 bytes, one for each queue and schema', () => {
    const names = ['ü'.repeat(60), `${'ü'.repeat(60)}2`, 'mails'];
    const channels = names.flatMap((name) => [channelOf(name, 'jobs'), channelOf(name, undefined)]);
    expect(new Set(channels).size).toBe(6);
    for (const channel of channels) expect(Buffer.byteLength(channel)).toBeLessThanOrEqual(63);
  });
});
