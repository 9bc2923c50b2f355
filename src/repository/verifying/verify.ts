/**
 * Verification (DESIGN §3.4, promise 5): the log and its chain of hashes, manifests, footers, every
 * page of every map, the index; and, if asked, every byte of data. What is damaged is logged, so that
 * nothing is deduplicated against it and the next backup heals it, and is named with the points it
 * touches.
 */
import { isHoldfastError, throwIfCancelled, type ErrorCode, type Progress } from '#base';
import { documentName, readDocument } from '../documents/documents.ts';
import { fold } from '../history/fold.ts';
import { emptyState, stateToJson, type RepositoryState } from '../history/state.ts';
import { Log, LOG_START } from '../log/log.ts';
import { wasIndexDamaged } from '../opening/open-index.ts';
import { checkPackEnds } from '../pack/footer-reader.ts';
import { packName } from '../pack/pack-id.ts';
import { manifestName, readManifest } from '../points/manifest.ts';
import type { DamagedCopy } from '../reading/block-reader.ts';
import type { Repository } from '../repository.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { findRepaired } from './find-repaired.ts';
import { readData } from './read-data.ts';
import { verifyMetadata } from './scratch-index.ts';
import {
  touchedPoints,
  type Touched,
  type TouchedBy,
  type TouchedPoint,
} from './touched-points.ts';

export type VerifyOptions = {
  /** Absent: metadata only. */
  readonly readDataPercent?: number;
  readonly memoryFile?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
};

type Damage = {
  /** The object's name, or `index`. */
  readonly object: string;
  readonly frame?: number;
  readonly code: ErrorCode;
  readonly why: string;
  /**
   * Points that cannot be restored whole because of it, with their disks; of a manifest its point. What lies
   * below a page that cannot be read counts as that page's. Absent: not known, as the index is damaged or
   * does not know what the pack held.
   */
  readonly points?: readonly TouchedBy[];
};

export type VerifyResult = {
  readonly ok: boolean;
  readonly checked: {
    readonly logEntries: number;
    readonly points: number;
    readonly packs: number;
    /** Blocks and pages that are stored, each once. */
    readonly blocks: number;
    readonly frames: number;
    readonly readBytes: number;
  };
  readonly damage: readonly Damage[];
  /** Points that cannot be restored whole, with the disks that are touched. */
  readonly points: readonly TouchedPoint[];
  readonly indexAgrees: boolean;
};

/** Verifies; damaged copies that it finds are in the log when it returns, where that can be written. */
export async function verifyRepository(
  repository: Repository,
  options: VerifyOptions = {},
): Promise<VerifyResult> {
  const { parts } = repository;
  const copies = new Map<string, DamagedCopy>();
  const note = (found: Iterable<DamagedCopy>): void => {
    for (const copy of found) copies.set(`${copy.pack}/${copy.frame}`, copy);
  };
  options.onProgress?.({ phase: 'checking log and manifests', doneBytes: 0 });
  const objects = [await checkLog(parts), await checkManifests(parts), await checkDocuments(parts)];
  const damage = objects.flat();
  throwIfCancelled(options.signal);
  options.onProgress?.({ phase: 'checking packs and maps', doneBytes: 0 });
  await repairWhatIsWhole(repository);
  note(await checkPacks(parts));
  const metadata = await verifyMetadata(parts);
  note(metadata.damage);
  throwIfCancelled(options.signal);
  const data = await readDataIfAsked(parts, options);
  note(data.damage);
  await quietly(() => repository.logDamage(copies.values()));
  const lossCount = copies.size + metadata.missingCount + parts.history.state.damage.size;
  const isWalked = metadata.indexDamage === undefined && lossCount > 0;
  const touched = isWalked ? await touchedPoints(parts) : undefined;
  damage.push(...Array.from(copies.values(), (copy) => describe(parts, copy, touched)));
  const isIndexLost = wasIndexDamaged(repository.rebuilt);
  const indexAgrees = metadata.indexAgrees && !isIndexLost;
  if (!indexAgrees) {
    const why = indexReason(repository, metadata);
    damage.push({ object: 'index', code: 'IndexDamaged', why });
  }
  const points = touched?.points ?? [];
  return {
    ok: damage.length === 0 && points.length === 0,
    checked: checkedOf(parts, { blocks: metadata.recordCount, ...data }),
    damage,
    points,
    indexAgrees,
  };
}

function checkedOf(
  { history: { state } }: RepositoryParts,
  read: Pick<VerifyResult['checked'], 'blocks' | 'frames' | 'readBytes'>,
): VerifyResult['checked'] {
  const { blocks, frames, readBytes } = read;
  return {
    logEntries: state.number + 1,
    points: [...state.points.values()].filter((point) => point.visible).length,
    packs: state.packs.size,
    blocks,
    frames,
    readBytes,
  };
}

async function readDataIfAsked(
  parts: RepositoryParts,
  options: VerifyOptions,
): Promise<Awaited<ReturnType<typeof readData>>> {
  if (options.readDataPercent === undefined) {
    return { damage: [], packs: 0, frames: 0, readBytes: 0 };
  }
  const { readDataPercent: percent, memoryFile, signal, onProgress } = options;
  return readData(parts, { percent, memoryFile, signal, onProgress });
}

/** Reads the whole log again and compares what it gives with the state in use (checkpoints included). */
async function checkLog(parts: RepositoryParts): Promise<Damage[]> {
  return parts.history.exclusively(async () => {
    try {
      const state = await foldedLog(parts);
      const used = JSON.stringify(stateToJson(parts.history.state));
      return JSON.stringify(stateToJson(state)) === used
        ? []
        : [
            {
              object: 'checkpoint/',
              code: 'LogDamaged',
              why: 'a checkpoint gives another state than the log',
            },
          ];
    } catch (error) {
      // What a checkpoint holds is still known; nothing else holds what the entry said.
      const isFound =
        isHoldfastError(error, 'LogDamaged') || isHoldfastError(error, 'FormatUnsupported');
      if (!isFound) throw error;
      const object = String(error.details['object'] ?? 'log/');
      return [{ object, code: error.code, why: error.message }];
    }
  });
}

/** The state that the log alone gives, up to the entry of the state in use. */
async function foldedLog(parts: RepositoryParts): Promise<RepositoryState> {
  const state: RepositoryState = emptyState();
  for await (const { entry, hash } of new Log(parts).readFrom(LOG_START)) {
    if (entry.number > parts.history.state.number) break;
    fold(state, entry, hash);
  }
  return state;
}

async function checkManifests(parts: RepositoryParts): Promise<Damage[]> {
  const damage: Damage[] = [];
  for (const point of Array.from(parts.history.state.points.values())) {
    if (!point.visible) continue;
    try {
      await readManifest(parts, point);
    } catch (error) {
      if (!isHoldfastError(error) || error.kind === 'unavailable') throw error;
      const object = manifestName(point.item, point.point);
      const points = [{ point: point.point, item: point.item, disks: [] }];
      damage.push({ object, code: error.code, why: error.message, points });
    }
  }
  return damage;
}

async function checkDocuments(parts: RepositoryParts): Promise<Damage[]> {
  const damage: Damage[] = [];
  for (const [id, { revision }] of parts.history.state.documents) {
    try {
      await readDocument(parts, id);
    } catch (error) {
      if (!isHoldfastError(error) || error.kind === 'unavailable') throw error;
      const object = documentName(id, revision);
      damage.push({ object, code: error.code, why: error.message, points: [] });
    }
  }
  return damage;
}

async function checkPacks(parts: RepositoryParts): Promise<DamagedCopy[]> {
  const damaged: DamagedCopy[] = [];
  for (const [pack] of Array.from(parts.history.state.packs)) {
    try {
      await checkPackEnds(parts.store, await parts.keeper.footer(pack));
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      if (error.kind !== 'corrupt' && error.kind !== 'notFound') throw error;
      damaged.push({ pack, frame: -1, error });
    }
  }
  return damaged;
}

/** Takes damage back that is none any more, because an object was put back from a copy. */
async function repairWhatIsWhole(repository: Repository): Promise<void> {
  const { parts } = repository;
  // What was noted before would otherwise be logged after it has been taken back.
  await quietly(() => repository.logDamage());
  if (parts.history.state.damage.size === 0) return;
  const { repaired, damaged } = await findRepaired(parts);
  if (repaired.length === 0) return;
  await quietly(async () => {
    await parts.append((state) => {
      const frames = repaired.filter(({ pack, frame }) => state.damage.get(pack)?.has(frame));
      return frames.length === 0 ? undefined : { type: 'repaired', frames };
    });
    await repository.logDamage(damaged);
  });
}

/** Where the store cannot be written, or the index not read, what was found is still reported. */
async function quietly(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const isExpected =
      isHoldfastError(error, 'StoreReadOnly') ||
      isHoldfastError(error, 'StoreFull') ||
      isHoldfastError(error, 'IndexDamaged');
    if (!isExpected) throw error;
  }
}

function describe(
  { keeper }: RepositoryParts,
  { pack, frame, error }: DamagedCopy,
  touched: Touched | undefined,
): Damage {
  const isKnown = !keeper.unreadablePacks.has(pack);
  const points = isKnown ? touched?.by(pack, frame) : undefined;
  return {
    object: packName(Buffer.from(pack, 'hex')),
    ...(frame < 0 ? {} : { frame }),
    code: error.code,
    why: error.message,
    ...(points === undefined ? {} : { points }),
  };
}

function indexReason(
  repository: Repository,
  metadata: {
    readonly firstDifference: string | undefined;
    readonly indexDamage: string | undefined;
  },
): string {
  if (repository.rebuilt !== undefined) return `it was rebuilt: ${repository.rebuilt.reason}`;
  const differs = `it differs from the repository, first at ${metadata.firstDifference ?? '?'}`;
  return `${metadata.indexDamage ?? differs}: run rebuild-index`;
}
