/** Folders of vaults that the catalogue does not have. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { shellQuoted } from '#base';
import { isForgotten, listVaultFolders, readVaultFolder } from '../repositories/vault-folder.ts';
import type { ServiceParts } from '../service-parts.ts';
import { triedAgain, whyOutOfReach } from '../vaults/vault-reach.ts';
import type { Finding } from './finding.ts';

/** @param known ids of the catalogue's vaults. */
export async function strangeFolders(
  parts: ServiceParts,
  known: ReadonlySet<string>,
): Promise<readonly Finding[]> {
  const { vaults } = parts.dataFolder;
  const strangers = (await listVaultFolders(vaults)).filter((id) => !known.has(id));
  const found: Finding[] = [];
  for (const id of strangers) {
    const folder = join(vaults, id);
    if (await isForgotten(folder)) found.push(...(await cameBack(parts, id)));
    else found.push(notTakenOver(parts, id));
  }
  return found;
}

function notTakenOver({ dataFolder, reach }: ServiceParts, id: string): Finding {
  const why = reach.all().get(id);
  const what = 'a vault that the catalogue does not have';
  const place = { severity: 'error', where: join(dataFolder.vaults, id) } as const;
  return why === undefined
    ? { ...place, what, advice: 'restart the service: it takes the vault over, or says why not' }
    : {
        ...place,
        what: `${what}, and cannot take over: ${whyOutOfReach(why)}`,
        advice: `mend what the message names; ${triedAgain(why)}`,
      };
}

/** Of a vault that was forgotten: as long as its repository is gone, there is nothing to tell. */
async function cameBack(
  { dataFolder, masterKey }: ServiceParts,
  id: string,
): Promise<readonly Finding[]> {
  const folder = join(dataFolder.vaults, id);
  const found = await readVaultFolder(folder, { id, masterKey }).catch(() => undefined); // Nothing opens it.
  if (found === undefined || !(await isThere(join(found.repository, 'repository.json')))) return [];
  return [
    {
      severity: 'warning',
      where: folder,
      what: `the repository of a vault that was forgotten is there: ${found.repository}`,
      advice: `to have the vault back, remove ${shellQuoted(join(folder, 'forgotten'))} and restart the service; to be rid of it, delete the repository and that folder`,
    },
  ];
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
