/** Backups that have more to read than what has changed (R42): the first one, and one with a disk that was added. */
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { findVm } from '../hosts/vms.ts';
import type { Item } from '../items/items.ts';
import { pointFactsFromJson } from '../points/point-facts.ts';
import { selectedDisks } from './selected-disks.ts';

/** Whether the VM has a disk to back up, as its host last told, that the newest point has not. */
export async function hasNewDisk(reader: CatalogueReader, item: Item): Promise<boolean> {
  const newest = await reader
    .selectFrom('points')
    .select('facts')
    .where('itemId', '=', item.id)
    .orderBy('takenAt', 'desc')
    .executeTakeFirst();
  if (newest === undefined) return true;
  const vm = await findVm(reader, { group: item.vmGroup, name: item.vmName });
  if (vm === undefined) return false;
  const known = new Set(pointFactsFromJson(newest.facts).disks.map(({ name }) => name));
  return selectedDisks(vm, item).some((name) => !known.has(name));
}
