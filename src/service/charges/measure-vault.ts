/** What a vault's repository says at this moment of what is charged for: who owns what, how much data each VM has. */
import { describeVmPoint, repositoryStatistics, storedByOwner, usedBytes } from '#backup';
import type { OpenRepository } from '../repositories/repositories.ts';
import type { ServiceParts } from '../service-parts.ts';
import { instanceBytes, type InstanceDisk } from './instance-size.ts';

export type ItemToMeasure = {
  readonly id: string;
  /** Its points that are to be counted, oldest first. */
  readonly points: readonly { readonly id: string; readonly consistency: string }[];
};

/** What is known of points from the measurement before. */
export type KnownUsed = ReadonlyMap<string, ReadonlyMap<string, number>>;

type MeasuredItem = {
  /** By point. */
  readonly owned: ReadonlyMap<string, number>;
  readonly instanceBytes: number;
  /** The newest point, and bytes that are not zero on each of its disks. */
  readonly newest: { readonly id: string; readonly usedBytes: ReadonlyMap<string, number> };
};

/** Bytes. */
export type RepositorySizes = {
  /** Packs, whole. */
  readonly storedBytes: number;
  /** What some point needs: the sum over owners. */
  readonly liveBytes: number;
  /** What no point needs, until compaction. */
  readonly deadBytes: number;
  readonly overheadBytes: number;
};

export type Measurement = {
  /** Items that have points. */
  readonly items: ReadonlyMap<string, MeasuredItem>;
  readonly sizes: RepositorySizes;
};

/**
 * @param of.vaultId its repository is read as it is when this begins; a point that went before is not counted.
 * @throws {HoldfastError} as `Repositories.read`; `BlockMissing` (once more, and it is well) if a point went meanwhile.
 */
export async function measureVault(
  parts: Pick<ServiceParts, 'repositories' | 'settings'>,
  of: {
    readonly vaultId: string;
    readonly items: readonly ItemToMeasure[];
    readonly known: KnownUsed;
  },
): Promise<Measurement> {
  const { halfSizeIfCrashConsistent } = parts.settings;
  return await parts.repositories.read(of.vaultId, async (repository) => {
    const owners = await storedByOwner(repository.parts);
    const items = new Map<string, MeasuredItem>();
    for (const { id, points } of of.items) {
      const there = points.filter((point) => owners.has(point.id));
      const newest = there.at(-1);
      if (newest === undefined) continue;
      const halvesAll = halfSizeIfCrashConsistent && newest.consistency === 'CrashConsistent';
      const used = await usedOf(repository, there, of.known);
      const disks = await disksOf(repository, newest.id, used);
      items.set(id, {
        owned: new Map(there.map((point) => [point.id, owners.get(point.id)!])),
        instanceBytes: instanceBytes(disks, { halvesAll }),
        newest: { id: newest.id, usedBytes: used },
      });
    }
    const { storedBytes, liveBytes, deadBytes, overheadBytes } = repositoryStatistics(
      repository.parts,
    );
    return { items, sizes: { storedBytes, liveBytes, deadBytes, overheadBytes } };
  });
}

/** Of the newest point: from what is known of an older one where there is such. */
async function usedOf(
  { parts }: OpenRepository,
  points: ItemToMeasure['points'],
  known: KnownUsed,
): Promise<ReadonlyMap<string, number>> {
  const base = points.findLast(({ id }) => known.has(id));
  const before =
    base === undefined ? undefined : { point: base.id, usedBytes: known.get(base.id)! };
  return await usedBytes(parts, points.at(-1)!.id, before);
}

async function disksOf(
  repository: OpenRepository,
  point: string,
  used: ReadonlyMap<string, number>,
): Promise<readonly InstanceDisk[]> {
  const { disks, lacking } = await describeVmPoint(repository, point);
  const others = lacking.filter(({ refusal }) => refusal === undefined);
  return [...disks, ...others].map(({ name, place, sizeBytes }) => ({
    isSystem: place === 0,
    sizeBytes,
    usedBytes: used.get(name),
  }));
}
