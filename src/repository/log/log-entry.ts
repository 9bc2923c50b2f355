/**
 * The log's entries (docs/format.md §5): what can happen to a repository, as plain JSON. Ids are
 * lowercase hex (sessions, packs, items, chains, roots, hashes) or decimal digits (points).
 */

/** What every entry carries; `number`, `previous`, `timeMs` and `epoch` are set by the log itself. */
type LogHeader = {
  readonly number: number;
  /** Hex SHA-256 of the sealed bytes of the entry before; 64 zeros in entry 0. */
  readonly previous: string;
  readonly timeMs: number;
  readonly epoch: number;
};

export type PackKind = 'data' | 'page';

/** A sealed pack of the session that the entry names. */
export type LoggedPack = {
  readonly counter: number;
  readonly kind: PackKind;
  readonly sizeBytes: number;
};

export type LoggedDisk = {
  readonly name: string;
  readonly chain: string;
  readonly sizeBytes: number;
  readonly root: string;
};

/** A point of several that become visible together; its session's packs are in the log before. */
export type LoggedPoint = {
  readonly session: string;
  readonly point: string;
  readonly item: string;
  readonly disks: readonly LoggedDisk[];
  readonly manifestHash: string;
};

export type LogEvent =
  | { readonly type: 'repository-created'; readonly repository: string; readonly blockSize: number }
  | {
      readonly type: 'owner';
      readonly host: string;
      readonly pid: number;
      readonly command: string;
    }
  | {
      readonly type: 'session-begun';
      readonly session: string;
      readonly kind: 'backup' | 'compaction';
      readonly point?: string;
      readonly item?: string;
      readonly bases: readonly string[];
      readonly writers: number;
    }
  | {
      readonly type: 'packs-sealed';
      readonly session: string;
      readonly packs: readonly LoggedPack[];
    }
  | {
      readonly type: 'point-committed';
      readonly session: string;
      readonly point: string;
      readonly item: string;
      readonly packs: readonly LoggedPack[];
      readonly disks: readonly LoggedDisk[];
      readonly manifestHash: string;
    }
  | {
      readonly type: 'points-committed';
      readonly points: readonly LoggedPoint[];
    }
  | {
      readonly type: 'session-ended';
      readonly session: string;
      readonly outcome: 'cancelled' | 'adopted' | 'finished';
      readonly packs: readonly LoggedPack[];
    }
  | { readonly type: 'point-expired'; readonly points: readonly string[] }
  | {
      readonly type: 'pinned';
      readonly pin: string;
      readonly points: readonly string[];
      readonly reader: string;
    }
  | { readonly type: 'unpinned'; readonly pin: string }
  | { readonly type: 'mark'; readonly packs: readonly MarkedPack[] }
  | { readonly type: 'doomed'; readonly mark: number; readonly packs: readonly string[] }
  | { readonly type: 'deleted'; readonly packs: readonly string[]; readonly sizeBytes: number }
  | { readonly type: 'damage'; readonly frames: readonly DamagedFrame[] }
  | { readonly type: 'repaired'; readonly frames: readonly DamagedFrame[] }
  | {
      readonly type: 'key-slot';
      readonly slot: string;
      readonly action: 'added' | 'removed';
      readonly label: string;
    }
  | {
      readonly type: 'document';
      readonly document: string;
      readonly revision: number;
      readonly hash: string;
    };

/** `dead`: base64 of zstd of one bit a slot in footer order, lowest bit first. */
export type MarkedPack = { readonly pack: string; readonly dead: string };

/** `frame` −1 is the whole pack. */
export type DamagedFrame = { readonly pack: string; readonly frame: number };

export type LogEntry = LogHeader & LogEvent;
