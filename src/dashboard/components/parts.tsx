import type { Child } from 'hono/jsx';
import type { JobState } from '../../model/job.js';
import type { Count } from '../queries/estimates.js';
import { relative } from './relative.js';
import type { View } from './view.js';

/** Small things that every page is made of. */

export const STATE_WORDS: Readonly<Record<JobState, string>> = {
  waiting: 'Waiting',
  'waiting-children': 'Waiting for children',
  delayed: 'Delayed',
  active: 'Active',
  completed: 'Completed',
  failed: 'Failed',
};

export function State({ state }: { state: JobState }) {
  return <span class={`badge state-${state in STATE_WORDS ? state : 'unknown'}`}>{STATE_WORDS[state] ?? state}</span>;
}

/** Relative to now, with the exact time on hover; the script keeps it up to date. */
export function Time({ at, view, none = '–' }: { at: Date | null; view: View; none?: string }) {
  if (!at || Number.isNaN(at.getTime())) return <span class="quiet">{none}</span>;
  const exact = at.toISOString();
  return (
    <time datetime={exact} title={exact} data-relative="">
      {relative(at.getTime(), view.now)}
    </time>
  );
}

const PLAIN = new Intl.NumberFormat('en');
const COMPACT = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });
export const number = (n: number): string => PLAIN.format(n);

export function Counted({ count }: { count: Count }) {
  if (count.kind === 'exact') return <>{number(count.value)}</>;
  if (count.kind === 'least') return <span title="Counted up to here">{number(count.value)}+</span>;
  return (
    <span title={`About ${number(count.value)}, from the planner's statistics`}>≈ {COMPACT.format(count.value)}</span>
  );
}

export function Stat({
  label,
  more,
  href,
  children,
}: {
  label: string;
  more?: Child;
  href?: string;
  children?: Child;
}) {
  const inside = (
    <>
      <span class="label">{label}</span>
      <span class="value">{children}</span>
      {more ? <span class="more">{more}</span> : null}
    </>
  );
  return href ? (
    <a class="stat" href={href}>
      {inside}
    </a>
  ) : (
    <div class="stat">{inside}</div>
  );
}

export function Panel(props: { title: string; note?: Child; children?: Child; keyed?: string | undefined }) {
  return (
    <section class="panel" data-key={props.keyed} aria-label={props.title}>
      <header>
        <h2>{props.title}</h2>
        {props.note ? <span class="quiet">{props.note}</span> : null}
      </header>
      {props.children}
    </section>
  );
}

export function Empty({ children }: { children?: Child }) {
  return <p class="empty quiet">{children}</p>;
}

/** A button that the script makes a verb of; without write access there is none. */
export function Verb(props: {
  view: View;
  to: 'jobs' | 'queue';
  body: object;
  /** What is asked before. */
  confirm?: string | undefined;
  kind?: 'danger' | 'primary' | undefined;
  children?: Child;
}) {
  if (!props.view.writable) return null;
  return (
    <button
      type="button"
      class={props.kind}
      data-verb={props.to}
      data-body={JSON.stringify(props.body)}
      data-confirm={props.confirm}
    >
      {props.children}
    </button>
  );
}
