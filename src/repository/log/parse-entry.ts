/**
 * From JSON to a `LogEntry`: checks every field that docs/format.md §5 names. Reading needs it because
 * the bytes are authentic but may be of a newer writer; writing needs it because an entry that nobody
 * can read would end the log for ever.
 */

import { HoldfastError } from '#base';

import type { LogEntry, LogEvent } from './log-entry.ts';

type Check = (value: unknown) => boolean;
type Shape = Readonly<Record<string, Check>>;

const text: Check = (value) => typeof value === 'string';
const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const frameNumber: Check = (value) => Number.isSafeInteger(value) && (value as number) >= -1;
const hash: Check = (value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);

const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const oneOf =
  (...words: readonly string[]): Check =>
  (value) =>
    words.includes(value as string);
const objectOf =
  (shape: Shape): Check =>
  (value) =>
    isRecord(value) && wrongField(value, shape) === undefined;

const packs = listOf(objectOf({ counter: count, kind: oneOf('data', 'page'), sizeBytes: count }));
const disks = listOf(objectOf({ name: text, chain: text, sizeBytes: count, root: text }));

const point = { session: text, point: text, item: text, disks, manifestHash: text };

const HEADER: Shape = { number: count, previous: hash, timeMs: count, epoch: count, type: text };

const EVENTS: Readonly<Record<LogEvent['type'], Shape>> = {
  'repository-created': { repository: text, blockSize: count },
  owner: { host: text, pid: count, command: text },
  'session-begun': {
    session: text,
    kind: oneOf('backup', 'compaction'),
    point: optional(text),
    item: optional(text),
    bases: listOf(text),
    writers: count,
  },
  'packs-sealed': { session: text, packs },
  'point-committed': { ...point, packs },
  'points-committed': { points: listOf(objectOf(point)) },
  'session-ended': {
    session: text,
    outcome: oneOf('cancelled', 'adopted', 'finished'),
    packs,
  },
  'point-expired': { points: listOf(text) },
  pinned: { pin: text, points: listOf(text), reader: text },
  unpinned: { pin: text },
  mark: { packs: listOf(objectOf({ pack: text, dead: text })) },
  doomed: { mark: count, packs: listOf(text) },
  deleted: { packs: listOf(text), sizeBytes: count },
  damage: { frames: listOf(objectOf({ pack: text, frame: frameNumber })) },
  repaired: { frames: listOf(objectOf({ pack: text, frame: frameNumber })) },
  'key-slot': { slot: text, action: oneOf('added', 'removed'), label: text },
  document: { document: text, revision: count, hash: text },
};

/**
 * @throws {HoldfastError} `ObjectDamaged` naming the field that is not as the format says;
 *   `FormatUnsupported` for a type that this Holdfast does not know.
 */
export function parseEntry(value: unknown): LogEntry {
  if (!isRecord(value)) throw new HoldfastError('ObjectDamaged', 'it is not a log entry');
  requireShape(value, HEADER);
  const type = value['type'] as string;
  if (!Object.hasOwn(EVENTS, type)) {
    throw new HoldfastError('FormatUnsupported', `a log entry has the unknown type "${type}"`, {
      details: { type, entry: value['number'] as number },
    });
  }
  requireShape(value, EVENTS[type as LogEvent['type']]);
  return value as unknown as LogEntry;
}

function requireShape(value: Readonly<Record<string, unknown>>, shape: Shape): void {
  const wrong = wrongField(value, shape);
  if (wrong !== undefined) {
    throw new HoldfastError('ObjectDamaged', `its field "${wrong}" is not as the format says`);
  }
}

function wrongField(value: Readonly<Record<string, unknown>>, shape: Shape): string | undefined {
  return Object.keys(shape).find((field) => shape[field]?.(value[field]) !== true);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
