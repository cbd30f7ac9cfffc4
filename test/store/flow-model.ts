import type { ChildFailurePolicy, JobState } from '../../src/model/job.js';

/** A reference model of flows: one node ends at a time and updates its parent. */
export interface ModelNode {
  readonly id: string;
  readonly queueName: string;
  readonly policy: ChildFailurePolicy;
  readonly parent: ModelNode | undefined;
  readonly children: ModelNode[];
  state: JobState | 'removed';
  pending: number;
  cancelled: boolean;
}

export const unfinished = ({ state }: ModelNode) => !['completed', 'failed', 'removed'].includes(state);

export function completes(node: ModelNode): void {
  if (node.cancelled) fails(node);
  else end(node, 'completed');
}

export function fails(node: ModelNode): void {
  end(node, 'failed');
}

export function isRemoved(node: ModelNode): void {
  const told = unfinished(node);
  node.state = 'removed';
  if (told) tellParent(node, true);
}

export function isCancelled(node: ModelNode): void {
  if (!unfinished(node)) return;
  node.cancelled = true;
  if (node.state !== 'active') end(node, 'failed');
}

export function isRetried(node: ModelNode): void {
  if (node.state !== 'failed') return;
  node.cancelled = false;
  node.pending = node.children.filter(unfinished).length;
  node.state = node.pending > 0 ? 'waiting-children' : 'waiting';
  if (node.parent?.state === 'waiting-children') node.parent.pending++;
}

function end(node: ModelNode, state: 'completed' | 'failed'): void {
  node.state = state;
  tellParent(node, state === 'failed');
}

function tellParent({ parent }: ModelNode, failed: boolean): void {
  if (parent?.state !== 'waiting-children') return;
  if (failed && parent.policy !== 'ignore') {
    parent.state = parent.policy === 'remove' ? 'removed' : 'failed';
    tellParent(parent, true);
    return;
  }
  parent.pending--;
  if (parent.pending === 0) parent.state = 'waiting';
}

/** The same numbers for the same seed, on every machine. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const POLICIES: ChildFailurePolicy[] = ['fail', 'ignore', 'remove'];

/** A tree of up to `depth` levels; the root is the first. */
export function randomTree(random: (below: number) => number, name: string, depth = 4): ModelNode[] {
  const nodes: ModelNode[] = [];
  const grow = (parent: ModelNode | undefined, level: number): ModelNode => {
    const node: ModelNode = {
      // In no order that follows from the place in the tree.
      id: `${random(1000)}-${name}-${nodes.length}`,
      queueName: `q${random(3)}`,
      policy: POLICIES[random(3)] as ChildFailurePolicy,
      parent,
      children: [],
      state: 'waiting',
      pending: 0,
      cancelled: false,
    };
    nodes.push(node);
    const width = level === depth ? 0 : random(4) + (level === 1 ? 1 : 0);
    for (let i = 0; i < width; i++) node.children.push(grow(node, level + 1));
    if (width > 0) Object.assign(node, { state: 'waiting-children', pending: width });
    return node;
  };
  grow(undefined, 1);
  return nodes;
}
