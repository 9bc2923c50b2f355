/** Expiry of points with many changed blocks, in a process that has the repository open; durable. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { backUpDisks } from '#backup';
import { expirePoints } from '#repository';
import { clock, inRepository, makeRepository } from '../measuring/holdfast.ts';
import { median, printTable, tell } from '../measuring/tables.ts';
import {
  baseDisk,
  churn,
  copySparse,
  freshFolder,
  settleDisk,
  type Workplace,
} from '../measuring/workplace.ts';

export async function expiry(place: Workplace): Promise<void> {
  const { expiryChanges, expiryPoints } = place.scale;
  const location = freshFolder(place, 'expiry');
  const disk = join(place.folder, 'expiry.raw');
  copySparse(baseDisk(place), disk);
  await makeRepository(location);
  const rows = await inRepository(location, async (repository) => {
    const ids: string[] = [];
    const changedBlocks: number[] = [];
    for (let point = 0; point < expiryPoints; point++) {
      if (point > 0) churn(disk, expiryChanges * 4096, point);
      const disks = [{ name: 'vda', location: disk }];
      const result = await backUpDisks({ repository, item: 'vm', disks, clock });
      ids.push(result.pointId);
      changedBlocks.push(result.disks[0]!.changed / (16 * 1024));
      tell(`expiry: point ${point}, ${changedBlocks.at(-1)} blocks changed`);
    }
    settleDisk();
    const found: { readonly changed: number; readonly deleted: number; readonly ms: number }[] = [];
    for (const [at, id] of ids.slice(1, -1).entries()) {
      const start = performance.now();
      const { deletedBlocks } = await expirePoints(repository.parts, [id]);
      const ms = performance.now() - start;
      found.push({ changed: changedBlocks[at + 1]!, deleted: deletedBlocks, ms });
    }
    return found;
  });
  rmSync(location, { recursive: true });
  rmSync(disk);
  printTable(
    'Expiry of one point in a running process',
    ['point', 'blocks changed', 'blocks deleted', 'ms'],
    [
      ...rows.map(({ changed, deleted, ms }, at) => [
        String(at + 1),
        String(changed),
        String(deleted),
        ms.toFixed(1),
      ]),
      ['median', '', '', `**${median(rows.map(({ ms }) => ms)).toFixed(1)}** (target < 100)`],
    ],
  );
}
