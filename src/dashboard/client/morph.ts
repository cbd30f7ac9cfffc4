/**
 * Makes an element like a newer one and keeps what has not changed: focus, selection, scroll position and the state of
 * inputs stay where they are. Children are matched by `data-key` or `id`, else by their place.
 */
export function morph(from: Element, to: Element): void {
  copyAttributes(from, to);
  if (!from.hasAttribute('data-keep')) morphChildren(from, to);
}

/** What the reader has set, and no refresh may undo. */
const OWN = new Set(['open', 'data-selected']);

function copyAttributes(from: Element, to: Element): void {
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !OWN.has(name)) from.removeAttribute(name);
  for (const { name, value } of [...to.attributes]) {
    if (!OWN.has(name) && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
}

const keyOf = (node: Node): string | null =>
  node instanceof Element ? (node.getAttribute('data-key') ?? (node.id || null)) : null;

const alike = (a: Node, b: Node): boolean => a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

function morphChildren(from: Element, to: Element): void {
  const keyed = new Map<string, Element>();
  for (const child of from.children) {
    const key = keyOf(child);
    if (key !== null) keyed.set(key, child);
  }
  let place: ChildNode | null = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const key = keyOf(wanted);
    let found: ChildNode | null = key === null ? place : (keyed.get(key) ?? null);
    if (found && !alike(found, wanted)) found = null;
    if (!found) {
      from.insertBefore(document.importNode(wanted, true), place);
      continue;
    }
    if (found === place) place = found.nextSibling;
    else from.insertBefore(found, place);
    if (found instanceof Element) morph(found, wanted as Element);
    else if (found.nodeValue !== wanted.nodeValue) found.nodeValue = wanted.nodeValue;
  }
  while (place) {
    const next: ChildNode | null = place.nextSibling;
    place.remove();
    place = next;
  }
}
