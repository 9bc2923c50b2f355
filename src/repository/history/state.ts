/**
 * The state of a repository at one log entry: what the fold of the log (fold.ts) keeps. Small: it
 * grows with packs, points and open work, never with blocks. Depends on the log's types only.
 *
 * Maps keep log order: `packs` is ordered as the log learned of the packs, chains as points were
 * committed. That order, not a clock, decides which copy counts and what a point's predecessor is.
 */
import type { LoggedDisk, MarkedPack, PackKind } from '../log/log-entry.ts';

export type OpenSession = {
  readonly session: string;
  /** Number of its `session-begun` entry: what it saw is older than this. */
  readonly begun: number;
  readonly kind: 'backup' | 'compaction';
  readonly point: string | undefined;
  readonly item: string | undefined;
  readonly bases: readonly string[];
  readonly writers: number;
  /** One more than the highest counter that the log has named. */
  nextCounter: number;
};

type KnownPack = {
  readonly kind: PackKind;
  readonly sizeBytes: number;
  /** The log entry that named it. */
  readonly number: number;
};

export type KnownPoint = {
  readonly point: string;
  readonly item: string;
  /** The log entry that committed it. */
  readonly number: number;
  readonly timeMs: number;
  readonly disks: readonly LoggedDisk[];
  readonly manifestHash: string;
  /** False once expired: it then only keeps its placements for a session or a pin. */
  visible: boolean;
};

type OpenPin = {
  readonly pin: string;
  readonly points: readonly string[];
  readonly reader: string;
  readonly timeMs: number;
};

type OpenMark = {
  readonly packs: readonly MarkedPack[];
  /** Sessions that were open at the mark and have not ended. */
  waitsFor: readonly string[];
};

type Owner = {
  readonly host: string;
  readonly pid: number;
  readonly command: string;
  readonly timeMs: number;
};

export type RepositoryState = {
  repository: string;
  blockSize: number;
  number: number;
  hash: string;
  epoch: number;
  timeMs: number;
  owner: Owner | undefined;
  readonly sessions: Map<string, OpenSession>;
  readonly packs: Map<string, KnownPack>;
  /** Gone for every lookup; their objects may still be there until `deleted` says otherwise. */
  readonly doomed: Map<string, KnownPack>;
  readonly points: Map<string, KnownPoint>;
  /** Chain key → points in log order, expired ones that still keep placements included. */
  readonly chains: Map<string, string[]>;
  readonly pins: Map<string, OpenPin>;
  readonly marks: Map<number, OpenMark>;
  /** Pack → damaged frames; −1 is the whole pack. */
  readonly damage: Map<string, Set<number>>;
  readonly keySlots: Map<string, string>;
  readonly documents: Map<string, { readonly revision: number; readonly hash: string }>;
  /** Bytes of packs deleted by compaction since the beginning. */
  reclaimedBytes: number;
};

export function emptyState(): RepositoryState {
  return {
    repository: '',
    blockSize: 0,
    number: -1,
    hash: '0'.repeat(64),
    epoch: 0,
    timeMs: 0,
    owner: undefined,
    sessions: new Map(),
    packs: new Map(),
    doomed: new Map(),
    points: new Map(),
    chains: new Map(),
    pins: new Map(),
    marks: new Map(),
    damage: new Map(),
    keySlots: new Map(),
    documents: new Map(),
    reclaimedBytes: 0,
  };
}

/** The visible points of a chain, oldest first. */
export function visiblePointsOf(state: RepositoryState, chain: string): KnownPoint[] {
  return (state.chains.get(chain) ?? [])
    .map((point) => state.points.get(point)!)
    .filter((point) => point.visible);
}

/** The state as JSON, for a checkpoint. The same state gives the same text. */
export function stateToJson(state: RepositoryState): unknown {
  return {
    ...state,
    sessions: [...state.sessions.values()],
    packs: [...state.packs].map(([id, pack]) => [id, pack.kind, pack.sizeBytes, pack.number]),
    doomed: [...state.doomed].map(([id, pack]) => [id, pack.kind, pack.sizeBytes, pack.number]),
    points: [...state.points.values()],
    chains: [...state.chains],
    pins: [...state.pins.values()],
    marks: [...state.marks],
    damage: [...state.damage].map(([pack, frames]) => [pack, [...frames]]),
    keySlots: [...state.keySlots],
    documents: [...state.documents],
  };
}

type PackRow = readonly [string, PackKind, number, number];
type StateJson = Omit<
  RepositoryState,
  | 'sessions'
  | 'packs'
  | 'doomed'
  | 'points'
  | 'chains'
  | 'pins'
  | 'marks'
  | 'damage'
  | 'keySlots'
  | 'documents'
> & {
  readonly sessions: readonly OpenSession[];
  readonly packs: readonly PackRow[];
  readonly doomed: readonly PackRow[];
  readonly points: readonly KnownPoint[];
  readonly chains: readonly (readonly [string, string[]])[];
  readonly pins: readonly OpenPin[];
  readonly marks: readonly (readonly [number, OpenMark])[];
  readonly damage: readonly (readonly [string, number[]])[];
  readonly keySlots: readonly (readonly [string, string])[];
  readonly documents: readonly (readonly [
    string,
    { readonly revision: number; readonly hash: string },
  ])[];
};

/** The state of a checkpoint's JSON. It was sealed by the repository itself, so its shape is ours. */
export function stateFromJson(value: unknown): RepositoryState {
  const json = value as StateJson;
  const packMap = (rows: readonly PackRow[]): Map<string, KnownPack> =>
    new Map(rows.map(([id, kind, sizeBytes, number]) => [id, { kind, sizeBytes, number }]));
  return {
    ...emptyState(),
    ...json,
    owner: json.owner,
    sessions: new Map(
      json.sessions.map((session) => [
        session.session,
        { ...session, point: session.point, item: session.item },
      ]),
    ),
    packs: packMap(json.packs),
    doomed: packMap(json.doomed),
    points: new Map(json.points.map((point) => [point.point, point])),
    chains: new Map(json.chains),
    pins: new Map(json.pins.map((pin) => [pin.pin, pin])),
    marks: new Map(json.marks),
    damage: new Map(json.damage.map(([pack, frames]) => [pack, new Set(frames)])),
    keySlots: new Map(json.keySlots),
    documents: new Map(json.documents),
  };
}
