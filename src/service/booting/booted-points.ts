/** Which points VMs still run from: they must not expire until the VMs have disks of their own. */
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { bootRequestFromJson } from './boot-request.ts';

/** Of an item: points that jobs which have not ended boot VMs from. */
export async function bootedPoints(
  reader: CatalogueReader,
  itemId: string,
): Promise<ReadonlySet<string>> {
  const rows = await reader
    .selectFrom('jobs')
    .select('request')
    .where('operation', '=', 'InstantBoot')
    .where('itemId', '=', itemId)
    .where('endedAt', 'is', null)
    .execute();
  return new Set(rows.map(({ request }) => bootRequestFromJson(request).point));
}
