/** Block nodes of `-blockdev`, nested as QEMU nests them; each is written in the form in which it was read. */
import { escaped, splitOptions, type Argument } from './arguments.ts';

type Value = string | number | boolean | null | BlockNode;
export type BlockNode = { [key: string]: Value };

export type NamedNode = { readonly argument: Argument; readonly node: BlockNode };

/** Drivers that show what lies below them as it is. */
const FILTERS = new Set([
  'copy-before-write',
  'throttle',
  'copy-on-read',
  'preallocate',
  'compress',
]);
/** What of an image's node is no matter of its format. */
const OF_ANY_FORMAT = [
  'node-name',
  'discard',
  'cache',
  'detect-zeroes',
  'read-only',
  'auto-read-only',
];
const OF_ANY_FILE = ['aio', 'cache', 'discard'];

/** A setting's text; undefined where there is none, or a nested node. */
export function textOf(value: Value | undefined): string | undefined {
  return typeof value === 'object' ? undefined : value?.toString();
}

export function readNodes(parsed: readonly Argument[]): Map<string, NamedNode> {
  const nodes = new Map<string, NamedNode>();
  for (const argument of parsed) {
    if (argument.flag !== 'blockdev') continue;
    const node = parseNode(argument.value ?? '');
    if (typeof node['node-name'] === 'string') nodes.set(node['node-name'], { argument, node });
  }
  return nodes;
}

function parseNode(text: string): BlockNode {
  if (text.startsWith('{')) return JSON.parse(text) as BlockNode;
  const node: BlockNode = {};
  for (const [at, option] of splitOptions(text).entries()) {
    const end = option.indexOf('=');
    const key = end < 0 && at === 0 ? 'driver' : option.slice(0, end);
    setAt(node, key.split('.'), option.slice(end + 1));
  }
  return node;
}

/** Writes a node back into its argument. */
export function writeNode({ argument, node }: NamedNode): void {
  const isJson = argument.value?.startsWith('{') === true;
  argument.value = isJson ? JSON.stringify(node) : flattened(node).join(',');
}

/** The node that holds the disk's image, below its filters. */
export function imageBelow(root: BlockNode, nodes: ReadonlyMap<string, NamedNode>): BlockNode {
  let node = root;
  while (FILTERS.has(textOf(node['driver']) ?? '')) {
    const below = childOf(node, nodes, 'file') ?? childOf(node, nodes, 'backing');
    if (below === undefined) break;
    node = below;
  }
  return node;
}

/** Path of the image that a node reads, where it is a file. */
export function fileOf(node: BlockNode, nodes: ReadonlyMap<string, NamedNode>): string | undefined {
  if (typeof node['filename'] === 'string') return node['filename'];
  const below = childOf(node, nodes, 'file');
  return below === undefined ? undefined : fileOf(below, nodes);
}

/** Makes the node an image of this format in this file, whatever it was. */
export function useImage(
  node: BlockNode,
  image: { readonly path: string; readonly format: string },
  nodes: ReadonlyMap<string, NamedNode>,
): void {
  const oldFile = 'filename' in node ? node : (childOf(node, nodes, 'file') ?? {});
  const isFile = oldFile['driver'] === 'file' || oldFile['driver'] === 'host_device';
  const file: BlockNode = { driver: 'file', filename: image.path };
  for (const key of isFile ? OF_ANY_FILE : []) {
    if (oldFile[key] !== undefined) file[key] = oldFile[key];
  }
  for (const key of Object.keys(node)) {
    if (key !== 'driver' && !OF_ANY_FORMAT.includes(key)) delete node[key];
  }
  node['driver'] = image.format;
  node['file'] = file;
}

/** Names of the nodes that a node names, nested ones too. */
export function namesIn(node: BlockNode): string[] {
  return Object.entries(node).flatMap(([key, value]) => {
    if (typeof value === 'object' && value !== null) return namesIn(value);
    return typeof value === 'string' && key !== 'node-name' ? [value] : [];
  });
}

function childOf(
  node: BlockNode,
  nodes: ReadonlyMap<string, NamedNode>,
  key: string,
): BlockNode | undefined {
  const child = node[key];
  if (typeof child === 'string') return nodes.get(child)?.node;
  return typeof child === 'object' && child !== null ? child : undefined;
}

function setAt(node: BlockNode, path: readonly string[], value: string): void {
  const [key = '', ...rest] = path;
  if (rest.length === 0) node[key] = value;
  else {
    const inner = node[key];
    const below = typeof inner === 'object' && inner !== null ? inner : {};
    node[key] = below;
    setAt(below, rest, value);
  }
}

function flattened(node: BlockNode, prefix = ''): string[] {
  return Object.entries(node).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null
      ? flattened(value, `${prefix}${key}.`)
      : [`${prefix}${key}=${escaped(String(value))}`],
  );
}
