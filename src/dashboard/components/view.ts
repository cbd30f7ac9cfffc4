import type { JobState } from '../../model/job.js';
import { ASSETS } from '../assets/generated.js';
import { ICON } from '../assets/icon.js';
import { fieldsOf, type JobFilter } from '../queries/job-filter.js';
import { type Cursor, cursorText } from '../queries/jobs.js';

/** What every page knows about its request. */
export interface View {
  readonly links: Links;
  /** Whether verbs are offered. */
  readonly writable: boolean;
  /** Epoch ms. */
  readonly now: number;
}

export interface JobsLink {
  readonly queue: string;
  readonly state?: JobState | undefined;
}

/**
 * The addresses of the dashboard. Names of queues and jobs are in the query: in a path, `..` and `/` would not arrive as
 * they were sent.
 */
export class Links {
  /** Where the dashboard is mounted, without a slash at its end. */
  readonly base: string;

  constructor(base: string) {
    this.base = base;
  }

  overview = (): string => `${this.base}/`;
  queue = (queue: string): string => this.#to('/queue', { queue });
  jobs = ({ queue, state }: JobsLink): string => this.#to('/jobs', { queue, state });
  job = (queue: string, id: string): string => this.#to('/job', { queue, id });
  json = (queue: string, id: string): string => this.#to('/job.json', { queue, id });
  find = (): string => `${this.base}/find`;
  schedules = (queue?: string, after?: string): string => this.#to('/schedules', { queue, after });
  flow = (queue: string, id: string): string => this.#to('/flow', { queue, id });
  flows = (after?: string): string => this.#to('/flows', { after });

  filtered(filter: JobFilter, cursor: Cursor | null): string {
    return this.#to('/jobs', { ...fieldsOf(filter), after: cursor ? cursorText(cursor) : undefined });
  }

  asset(name: string): string {
    const asset = [...ASSETS, ICON].find((known) => known.name === name)!;
    return `${this.base}/assets/${asset.hash}/${name}`;
  }

  #to(path: string, fields: Record<string, string | undefined>): string {
    const given = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined);
    return `${this.base}${path}${given.length > 0 ? `?${new URLSearchParams(given)}` : ''}`;
  }
}
