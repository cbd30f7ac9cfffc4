import { readOptions } from '../../model/options/option-object.js';
import { show } from '../../model/text.js';

/** What happens to the descendants of a job that is cancelled or removed. */
export interface ChildrenOptions {
  /** Whether they are cancelled or removed with it. Default false: they run, or go on running, all the same. */
  children?: boolean;
}

/** @throws TypeError for an option that does not exist, or is not a boolean */
export function withChildren(options: ChildrenOptions, name: string): boolean {
  const { children = false } = readOptions(options, name, ['children']);
  if (typeof children === 'boolean') return children;
  throw new TypeError(`${name}.children is ${show(children)}; it must be true or false.`);
}
