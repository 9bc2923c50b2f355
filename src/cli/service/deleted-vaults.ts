/** Soft-deleted vaults: shown beside the others, and brought back by `holdfast vault undelete`. */
import { HoldfastError, shellQuoted } from '#base';
import { formatTable, left } from '../output/table.ts';
import { findById, fullName, isSame, notFound, type Named } from './names.ts';
import { inGroup, listDeletedVaults, LOCATION, type DeletedVault } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import { shortTime } from './time.ts';

/** Empty where there are none. */
export function deletedVaultsText(vaults: readonly DeletedVault[]): readonly string[] {
  if (vaults.length === 0) return [];
  const table = formatTable(
    [left('SOFT-DELETED'), left('GROUP'), left('SINCE'), left('UNTIL'), left('ID')],
    vaults.map(({ name, group, deletedAt, until, id }) => [
      name,
      group,
      shortTime(deletedAt),
      shortTime(until),
      id,
    ]),
  );
  return [`${table}\nholdfast vault undelete brings one back.`];
}

/** @param deleted undefined: it is gone for good. */
export function deletedText(vault: Named, deleted: DeletedVault | undefined): string {
  const full = fullName(vault);
  if (deleted === undefined) return `Vault ${full} is deleted.`;
  return (
    `Vault ${full} is soft-deleted until ${shortTime(deleted.until)}; ` +
    `"holdfast vault undelete ${shellQuoted(full)}" brings it back.`
  );
}

/** @param text a name, or the id where several had it. */
export async function undeleteVault(
  { service, terminal }: ServiceContext,
  text: string,
  options: { readonly group?: string },
): Promise<void> {
  const vault = findDeleted(await listDeletedVaults(service), text);
  const { deletedVaults } = await service.vaults();
  const group = await inGroup(service, options.group ?? vault.group, async (into) => {
    const properties = { recoveryResourceGroupId: `${service.root}/resourceGroups/${into}` };
    await service.ask(
      async () => await deletedVaults.undelete(LOCATION, vault.id, { properties }).pollUntilDone(),
    );
    return into;
  });
  const back = fullName({ group, name: vault.name });
  terminal.result(
    { undeleted: back, id: vault.id },
    () =>
      `Vault ${back} is back, with its policies and points. VMs whose data was deleted are soft-deleted still: ` +
      `holdfast vm list, holdfast undelete VM.`,
  );
}

function findDeleted(vaults: readonly DeletedVault[], text: string): DeletedVault {
  const byName = vaults.filter(
    (vault) => isSame(vault.name, text) || isSame(fullName(vault), text),
  );
  if (byName.length > 1) {
    const which = byName.map(({ id, deletedAt }) => `${id} (deleted ${shortTime(deletedAt)})`);
    throw new HoldfastError(
      'NameAmbiguous',
      `several soft-deleted vaults are called ${text}: give the id, ${which.join(' or ')}`,
    );
  }
  const found = byName[0] ?? findById(vaults, text, 'soft-deleted vault');
  if (found !== undefined) return found;
  throw notFound(
    `there is no soft-deleted vault ${text}`,
    'soft-deleted vault',
    vaults.map(fullName),
  );
}
