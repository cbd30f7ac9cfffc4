/** An arrow function of at most one plain or destructured parameter: it has no `arguments` of its own. */
const ONE_PARAMETER = /^(?:async\s*)?(?:[\w$]+|\(\s*(?:[\w$]+|\{[\w$\s,:]*\})?\s*,?\s*\))\s*=>/;

/**
 * Whether a handler may look at the signal that is its second argument. Where it cannot, none is made: that is a fifth of
 * what a worker does for a short job. (`job.signal` gives it all the same.)
 */
export const takesSignal = (processor: (...args: never[]) => unknown): boolean =>
  processor.length > 1 || !ONE_PARAMETER.test(Function.prototype.toString.call(processor));
