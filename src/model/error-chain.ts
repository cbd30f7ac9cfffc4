import {
  constraintOf,
  isQueryWrapper,
  queryMessage,
  sqlStateOf,
  stackWithoutParams,
  withoutParams,
} from './query-errors.js';
import { fieldOf, readField } from './read-field.js';
import { cap } from './text.js';

/** What an error and its causes say, without the parameters of queries. */

export const MAX_MESSAGE_LENGTH = 10_000;
export const MAX_STACK_LENGTH = 20_000;
/** Of a message in a stack: Drizzle's is the whole query. */
const MAX_HEAD_LENGTH = 2_000;
const JOINT = '\nCaused by: ';
/** Errors that are read of one that was thrown. */
const MAX_ERRORS = 20;
/** Errors that are read of an AggregateError. */
const MAX_AGGREGATED = 5;

/** An error and its causes, in their order, and what is to be replaced in every text of theirs. */
export interface Chain {
  readonly links: readonly Link[];
  /** Messages with values, and what is left of them: an app's wrapper may repeat them. */
  readonly replaced: ReadonlyMap<string, string>;
}

interface Link {
  readonly error: unknown;
  /** As it was thrown. */
  readonly raw: string | undefined;
  /** How deep it is among the causes; those of an AggregateError are beside each other. */
  readonly depth: number;
  /** `23505, users_email_key`. */
  readonly code: string | undefined;
  readonly wrapper: boolean;
}

export function readChain(thrown: unknown): Chain {
  const links: Link[] = [];
  const replaced = new Map<string, string>();
  const seen = new Set<unknown>();
  const visit = (error: unknown, depth: number): void => {
    if (seen.has(error) || links.length >= MAX_ERRORS) return;
    if (typeof error === 'object') seen.add(error);
    const raw = fieldOf(error, 'message');
    const state = sqlStateOf(error);
    const constraint = state && constraintOf(error);
    links.push({
      ...{ error, raw, depth, wrapper: isQueryWrapper(error) },
      code: constraint ? `${state}, ${constraint}` : state,
    });
    if (raw !== undefined) {
      const clean = withoutParams(queryMessage(error) ?? raw);
      if (clean !== raw) replaced.set(raw, clean);
    }
    for (const cause of causesOf(error)) visit(cause, depth + 1);
  };
  visit(thrown, 0);
  return { links, replaced };
}

/** What can be read as an error: an object that is a mere context of one says nothing by itself. */
function causesOf(error: unknown): unknown[] {
  try {
    const causes = [readField(error, 'cause')];
    if (fieldOf(error, 'name') === 'SuppressedError')
      causes.push(readField(error, 'error'), readField(error, 'suppressed'));
    const errors = readField(error, 'errors');
    if (Array.isArray(errors)) causes.push(...errors.slice(0, MAX_AGGREGATED));
    return causes.filter((cause) => (typeof cause === 'string' ? cause : isError(cause)));
  } catch {
    return [];
  }
}

const isError = (value: unknown) => (fieldOf(value, 'message') ?? fieldOf(value, 'stack')) !== undefined;

/** The length of one text of `count`, so that a long one does not push out those that follow. */
const share = (max: number, count: number) => Math.floor(max / count) - (count > 1 ? JOINT.length : 0);

function replaceIn(text: string, { replaced }: Chain): string {
  let cleaned = text;
  for (const [raw, instead] of replaced) cleaned = cleaned.replaceAll(raw, instead);
  return cleaned;
}

export function messageOf(chain: Chain): string {
  const { links } = chain;
  const length = share(MAX_MESSAGE_LENGTH, links.length);
  let text = '';
  let depth = 0;
  for (const [i, link] of links.entries()) {
    const hasCause = links[i + 1]?.depth === link.depth + 1;
    if (hasCause && (link.wrapper || link.raw === undefined)) continue;
    const message = cap(withoutParams(replaceIn(link.raw ?? describe(link.error), chain)), length);
    if (text === '' || !repeats(text, message)) {
      if (text !== '') text += link.depth > depth ? ': ' : '; ';
      text += message;
      depth = link.depth;
    }
    if (link.code?.split(', ').some((part) => !text.includes(part))) text += ` (${link.code})`;
  }
  return text;
}

/** Whether it has all of the message, as words of its own. */
function repeats(text: string, message: string): boolean {
  const at = text.indexOf(message);
  const around = `${text[at - 1] ?? ''}${text[at + message.length] ?? ''}`;
  return at >= 0 && !/[\p{L}\p{N}]/u.test(around);
}

export function stackOf(chain: Chain): string | null {
  const stacks = chain.links.map(({ error }) => fieldOf(error, 'stack'));
  if (stacks.every((stack) => stack === undefined)) return null;
  const length = share(MAX_STACK_LENGTH, stacks.length);
  return chain.links.map((link, i) => cap(partOf(link, stacks[i], chain), length)).join(JOINT);
}

/** The stack as it is, unless it repeats what must not be stored, or lacks the code. */
function partOf({ error, raw, code }: Link, stack: string | undefined, chain: Chain): string {
  const message = raw ?? describe(error);
  if (stack !== undefined && code === undefined && !chain.replaced.has(message))
    return stackWithoutParams(replaceIn(stack, chain));
  const name = fieldOf(error, 'name');
  const head = withoutParams(replaceIn(name === undefined ? message : `${name}: ${message}`, chain));
  return `${cap(head, MAX_HEAD_LENGTH)}${code === undefined ? '' : ` (${code})`}${framesOf(stack ?? '', message)}`;
}

/** V8 begins the stack with the message that the error had when it was made. */
function framesOf(stack: string, message: string): string {
  const begin = stack.indexOf(message);
  if (begin >= 0) return stack.slice(begin + message.length);
  return /(?:\n {4}at [^\n]*)+$/.exec(stack.slice(-MAX_STACK_LENGTH))?.[0] ?? '';
}

function describe(thrown: unknown): string {
  if (typeof thrown === 'function') return `function ${fieldOf(thrown, 'name') ?? ''}`.trim();
  if (typeof thrown !== 'object' || thrown === null) return String(thrown);
  const name = fieldOf(thrown, 'name') ?? 'an object';
  const code = fieldOf(thrown, 'code');
  // An AggregateError of failed connections has no message, only a code.
  return code === undefined ? name : `${name} (${code})`;
}
