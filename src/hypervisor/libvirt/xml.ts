/** The little of XML's document model that libvirt's documents need. What we do not know stays as it is. */
import { DOMParser, XMLSerializer, type Document, type Element } from '@xmldom/xmldom';
import { HoldfastError } from '#base';

export type XmlElement = Element;

/**
 * @returns the root element.
 * @throws {HoldfastError} `HypervisorFailed` if it is no well-formed document with that root.
 */
export function parseXml(text: string, rootName: string): XmlElement {
  let document: Document;
  try {
    document = new DOMParser({
      onError: (level, message) => {
        if (level !== 'warning') throw new Error(message);
      },
    }).parseFromString(text, 'text/xml');
  } catch (cause) {
    throw notXml(rootName, cause);
  }
  const root = document.documentElement;
  if (root?.nodeName !== rootName) throw notXml(rootName);
  return root;
}

function notXml(rootName: string, cause?: unknown): HoldfastError {
  return new HoldfastError('HypervisorFailed', `libvirt's XML is not a <${rootName}> document`, {
    cause,
  });
}

export function formatXml(element: XmlElement): string {
  return new XMLSerializer().serializeToString(element);
}

/** The element's children of that name, in order. */
export function children(element: XmlElement | undefined, name?: string): XmlElement[] {
  if (element === undefined) return [];
  return Array.from(element.childNodes).filter(
    (node): node is XmlElement =>
      node.nodeType === node.ELEMENT_NODE && (name === undefined || node.nodeName === name),
  );
}

/** The first element down a path of names. */
export function child(
  element: XmlElement | undefined,
  ...path: readonly string[]
): XmlElement | undefined {
  let found = element;
  for (const name of path) found = children(found, name)[0];
  return found;
}

/** Undefined where the attribute is absent or empty. */
export function attribute(element: XmlElement | undefined, name: string): string | undefined {
  const value = element?.getAttribute(name);
  return value === null || value === '' ? undefined : value;
}

/** The text of the first element down a path; undefined where it is absent or empty. */
export function textAt(
  element: XmlElement | undefined,
  ...path: readonly string[]
): string | undefined {
  const text = child(element, ...path)?.textContent?.trim();
  return text === undefined || text === '' ? undefined : text;
}

export type NewElement = {
  readonly name: string;
  readonly attributes?: Readonly<Record<string, string | undefined>>;
  readonly content?: string | readonly NewElement[];
};

/** Makes an element in the document of `parent` and puts it at the end, or before `before`. */
export function appendElement(
  parent: XmlElement,
  made: NewElement,
  before?: XmlElement,
): XmlElement {
  const element = parent.ownerDocument!.createElement(made.name);
  for (const [name, value] of Object.entries(made.attributes ?? {})) {
    if (value !== undefined) element.setAttribute(name, value);
  }
  if (typeof made.content === 'string') {
    element.appendChild(parent.ownerDocument!.createTextNode(made.content));
  } else {
    for (const inner of made.content ?? []) appendElement(element, inner);
  }
  parent.insertBefore(element, before ?? null);
  return element;
}

/** A new document as text. */
export function buildXml(made: NewElement): string {
  const holder = parseXml('<holder/>', 'holder');
  return formatXml(appendElement(holder, made));
}

export function remove(element: XmlElement | undefined): void {
  element?.parentNode?.removeChild(element);
}

/** Sets the text of the child `name`, which is made where it is absent. */
export function setText(parent: XmlElement, name: string, text: string): void {
  const element = child(parent, name) ?? appendElement(parent, { name });
  element.textContent = text;
}
