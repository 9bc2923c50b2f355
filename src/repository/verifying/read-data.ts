/**
 * Reads packs whole and checks every byte: each frame is authenticated, decompressed, each slot checked
 * against its id. Which packs were read when is remembered beside the index, so that a percentage takes
 * the least recently read first.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { HoldfastError, isHoldfastError, throwIfCancelled, type Progress } from '#base';
import { checkPackEnds } from '../pack/footer-reader.ts';
import { scanPack } from '../pack/pack-scan.ts';
import type { DamagedCopy } from '../reading/block-reader.ts';
import type { RepositoryParts } from '../repository-parts.ts';

export type ReadDataOptions = {
  /** 0 < percent ≤ 100 of the stored bytes. */
  readonly percent: number;
  /** File that remembers when each pack was read; undefined: nothing is remembered. */
  readonly memoryFile: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
};

export type ReadFindings = {
  readonly damage: readonly DamagedCopy[];
  readonly packs: number;
  readonly frames: number;
  readonly readBytes: number;
};

export async function readData(
  parts: RepositoryParts,
  options: ReadDataOptions,
): Promise<ReadFindings> {
  const readAt = await recall(options.memoryFile);
  const { state } = parts.history;
  const packs = [...state.packs].sort(
    ([a], [b]) => (readAt.get(a) ?? 0) - (readAt.get(b) ?? 0) || (a < b ? -1 : 1),
  );
  const storedBytes = packs.reduce((sum, [, { sizeBytes }]) => sum + sizeBytes, 0);
  const totalBytes = Math.ceil((storedBytes * options.percent) / 100);
  const damage: DamagedCopy[] = [];
  let [packCount, frames, readBytes] = [0, 0, 0];
  for (const [pack, { sizeBytes }] of packs) {
    if (readBytes >= totalBytes) break;
    throwIfCancelled(options.signal);
    const scanned = await scanOne(parts, pack);
    if (scanned === undefined) continue;
    damage.push(...scanned.damage);
    frames += scanned.frames;
    packCount += 1;
    readBytes += sizeBytes;
    readAt.set(pack, parts.clock.nowMs());
    options.onProgress?.({
      phase: 'reading data',
      doneBytes: Math.min(readBytes, totalBytes),
      totalBytes,
    });
  }
  for (const pack of readAt.keys()) if (!state.packs.has(pack)) readAt.delete(pack);
  await remember(options.memoryFile, readAt);
  return { damage, packs: packCount, frames, readBytes };
}

/** Undefined: the pack went away meanwhile, by compaction. */
async function scanOne(
  parts: RepositoryParts,
  pack: string,
): Promise<{ readonly damage: readonly DamagedCopy[]; readonly frames: number } | undefined> {
  const damage: DamagedCopy[] = [];
  let frames = 0;
  try {
    const footer = await parts.keeper.footer(pack);
    await checkPackEnds(parts.store, footer);
    for await (const scanned of scanPack({ store: parts.store, keys: parts.keyring }, footer)) {
      frames += 1;
      if (scanned.damage !== undefined) {
        damage.push({ pack, frame: scanned.frame, error: scanned.damage });
      }
    }
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    if (error.kind !== 'corrupt' && error.kind !== 'notFound') throw error;
    await parts.history.catchUp();
    if (!parts.history.state.packs.has(pack)) return undefined;
    damage.push({ pack, frame: -1, error });
  }
  return { damage, frames };
}

async function recall(file: string | undefined): Promise<Map<string, number>> {
  if (file === undefined) return new Map();
  try {
    return new Map(JSON.parse(await readFile(file, 'utf8')) as [string, number][]);
  } catch {
    // Lost or damaged: then every pack counts as never read, which only costs reading it.
    return new Map();
  }
}

async function remember(
  file: string | undefined,
  readAt: ReadonlyMap<string, number>,
): Promise<void> {
  if (file === undefined) return;
  try {
    await writeFile(`${file}.new`, JSON.stringify([...readAt]));
    await rename(`${file}.new`, file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const isReadOnly = code === 'EROFS' || code === 'EACCES' || code === 'ENOSPC';
    if (!isReadOnly)
      throw new HoldfastError('StoreFailed', `cannot write ${file}`, { cause: error });
  }
}
