import type { DrizzleLike } from '../../db/drizzle-like.js';
import type { Executor } from '../../db/executor.js';
import { resolveJobOptions } from '../../model/options/job-options.js';
import { validateQueueName } from '../../model/options/names.js';
import { readOptions } from '../../model/options/option-object.js';
import { encodeRecord, type JobRecord } from '../../store/add/insert.js';
import { saveFlow } from '../../store/add/insert-flow.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import { getJob } from '../../store/read/find.js';
import { dataIn } from '../../store/rows/new-job.js';
import { Announcement } from './announcement.js';
import type { FlowInput, FlowJob, FlowNode } from './flow-types.js';
import { type IdentifiedJob, newJob } from './prepare.js';

const MAX_DEPTH = 100;

interface Planned {
  readonly job: IdentifiedJob;
  readonly record: JobRecord;
  readonly node: FlowNode;
}

/**
 * Saves trees of jobs: a parent runs once all its children have completed (or failed, by its policy). `Queues` maps
 * names of queues to their jobs: `new FlowProducer<{ mail: MailJobs; reports: Payload<Report> }>({ store })`.
 */
export class FlowProducer<Queues = unknown> {
  /** Never set: has the compiler compare flow producers member by member, as of `Queue`. */
  declare readonly '~queues'?: { [K in keyof Queues & string]: unknown };
  readonly #store: PgStore;

  constructor(options: { store: PgStore }) {
    readOptions(options, 'options', ['store']);
    if (!options.store?.engine) throw new TypeError('FlowProducer options.store must be a PgStore.');
    this.#store = options.store;
  }

  /** Saves the whole tree in one statement, or nothing of it. The names of queues may differ within a tree. */
  async add<F extends FlowJob<Queues>>(flow: FlowInput<F, Queues>): Promise<FlowNode<Queues>> {
    return this.#add<Queues>(flow, undefined);
  }

  /** The same inside a transaction of the app's Drizzle client. */
  withTransaction(transaction: DrizzleLike): { add: FlowProducer<Queues>['add'] } {
    if (typeof transaction?.execute !== 'function') {
      throw new TypeError('withTransaction() takes the transaction that db.transaction(async (tx) => …) hands out.');
    }
    return { add: (flow) => this.#add<Queues>(flow, this.#store.engine.within(transaction)) };
  }

  async close(): Promise<void> {}

  async #add<Q>(flow: unknown, transaction: Executor | undefined): Promise<FlowNode<Q>> {
    const { engine } = this.#store;
    const planned: Planned[] = [];
    const root = (await this.#plan(flow as FlowJob, undefined, planned, 1)) as FlowNode<Q>;
    const executor = transaction ?? engine.executor;
    const ids = await saveFlow(
      executor,
      planned.map(({ record }) => record),
    );
    if (ids[0] !== planned[0]?.job.id || planned.some(({ job }, i) => job.id !== ids[i])) {
      await this.#answerWithExisting(planned, ids, executor);
      return root;
    }
    const announcement = new Announcement();
    for (const { job } of planned) {
      const due = job.state === 'delayed' && job.delayUntil ? job.delayUntil.getTime() - Date.now() : null;
      announcement.add(job.queueName, job.id, job.state, due);
    }
    if (transaction) await announcement.sendIn(engine.notifier, transaction);
    else announcement.send(engine.notifier);
    return root;
  }

  /** Depth first, parents before their children: the root is the first. */
  async #plan(flow: FlowJob, parent: IdentifiedJob | undefined, planned: Planned[], depth: number): Promise<FlowNode> {
    if (flow === null || typeof flow !== 'object')
      throw new TypeError('A flow is { name, queueName, data, children? }.');
    if (depth > MAX_DEPTH) throw new RangeError(`A flow may be ${MAX_DEPTH} levels deep.`);
    const children = flow.children ?? [];
    if (!Array.isArray(children)) throw new TypeError(`children of flow job "${flow.name}" must be an array.`);
    const opts = resolveJobOptions(flow.opts);
    if (opts.options.repeat) throw new TypeError(`Flow job "${flow.name}": opts.repeat cannot be used in a flow.`);
    if (opts.options.group?.maxSize !== undefined) {
      throw new TypeError(`Flow job "${flow.name}": opts.group.maxSize cannot be used in a flow.`);
    }
    const job = newJob(validateQueueName(flow.queueName), flow.name, flow.data, opts);
    if (children.length > 0) job.state = 'waiting-children';
    job.parentId = parent?.id ?? null;
    job.parentQueueName = parent?.queueName ?? null;
    job.pendingChildrenCount = children.length;
    const { id, name, queueName, state } = job;
    const node: FlowNode = { job: { id, name, queueName, data: null, state } };
    // Its place comes before those of its children, but its record needs their ids.
    const slot = planned.length;
    planned.push(undefined as never);
    const nodes: FlowNode[] = [];
    for (const child of children) nodes.push(await this.#plan(child, job, planned, depth + 1));
    if (nodes.length > 0) node.children = nodes;
    job.childrenIds = nodes.map((child) => child.job.id);
    const { maxPayloadBytes } = this.#store.engine.options;
    const delayMs = opts.delayMs > 0 ? opts.delayMs : undefined;
    const record = encodeRecord(queueName, id, job, { maxPayloadBytes, delayMs, createdNow: true });
    node.job.data = dataIn(record);
    planned[slot] = { job, record, node };
    return node;
  }

  /** The same tree was added before (its root's id or key exists): the nodes get the existing ids and states. */
  async #answerWithExisting(planned: Planned[], ids: string[], executor: Executor): Promise<void> {
    for (const [i, { node }] of planned.entries()) {
      node.job.id = ids[i] as string;
      const found = await getJob(executor, node.job.queueName, node.job.id);
      if (found) node.job.state = found.job.state;
    }
  }
}
