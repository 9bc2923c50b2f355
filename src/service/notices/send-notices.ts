/** Mails what people must know of deleted backup data (R58), where the settings say to whom. */
import { createTransport } from 'nodemailer';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { ServiceParts } from '../service-parts.ts';
import type { ServiceSettings } from '../service-settings.ts';
import { mailText } from './mail-text.ts';
import { planNotices, type SoftDeleted, type Told } from './plan-notices.ts';

/** A server that does not answer is tried again at the next look. */
const TIMEOUT_MS = 20_000;

/**
 * Sends one mail with all that is new. Broken off after it was sent, the same is told again.
 *
 * @throws what the mail server or the way to it failed with; the next look tries again.
 */
export async function sendNotices(parts: ServiceParts): Promise<void> {
  const { mail } = parts.settings;
  if (mail === undefined) return;
  const { catalogue, clock } = parts;
  const { read } = catalogue;
  const before = await read.selectFrom('notices').selectAll().orderBy('deletedAt').execute();
  const away = await read.selectFrom('deletedVaults').select('id').execute();
  const awayIds = new Set(away.map(({ id }) => id));
  const { notices, told } = planNotices(before.map(toldOf), {
    deleted: [...(await deletedItems(read)), ...(await deletedVaults(read))],
    nowMs: clock.nowMs(),
    isAway: (vaultId) => awayIds.has(vaultId),
  });
  if (notices.length === 0 && told.length === before.length) return;
  if (notices.length > 0) await send(mail, mailText(notices));
  await catalogue.change(async (change) => {
    await change.deleteFrom('notices').execute();
    for (const row of told) await change.insertInto('notices').values(row).execute();
  });
}

type ToldRow = Omit<Told, 'stage'> & { readonly stage: string };

function toldOf({ stage, ...row }: ToldRow): Told {
  return { ...row, stage: stage === 'soon' ? 'soon' : 'deleted' };
}

async function deletedItems(reader: CatalogueReader): Promise<readonly SoftDeleted[]> {
  const rows = await reader
    .selectFrom('items')
    .innerJoin('vaults', 'vaults.id', 'items.vaultId')
    .innerJoin('resourceGroups', 'resourceGroups.key', 'vaults.groupKey')
    .select(['items.id', 'items.vaultId', 'items.vmGroup', 'items.vmName'])
    .select(['items.deletedAt', 'items.purgeAt'])
    .select(['vaults.name as vault', 'resourceGroups.name as group'])
    .where('items.state', '=', 'SoftDeleted')
    .orderBy('items.deletedAt')
    .execute();
  return rows.flatMap(({ id, vaultId, vmGroup, vmName, deletedAt, purgeAt, vault, group }) => {
    // Deleted while soft delete was off: it is going already, nobody can have it back.
    if (deletedAt === null || purgeAt === null || purgeAt === deletedAt) return [];
    const what = `VM ${vmGroup}/${vmName}, vault ${group}/${vault}`;
    return [{ id, vaultId, what, deletedAt, purgeAt }];
  });
}

async function deletedVaults(reader: CatalogueReader): Promise<readonly SoftDeleted[]> {
  const rows = await reader.selectFrom('deletedVaults').selectAll().orderBy('deletedAt').execute();
  return rows.map(({ id, groupName, name, deletedAt, purgeAt }) => {
    return { id, vaultId: id, what: `vault ${groupName}/${name}`, deletedAt, purgeAt };
  });
}

async function send(
  { smtp, from, to }: NonNullable<ServiceSettings['mail']>,
  message: { readonly subject: string; readonly text: string },
): Promise<void> {
  const transport = createTransport(withTimeouts(smtp));
  try {
    await transport.sendMail({ from, to: [...to], ...message });
  } finally {
    transport.close();
  }
}

/** In the query of the address, as the library reads them. */
function withTimeouts(smtp: string): string {
  const url = new URL(smtp);
  for (const name of ['connectionTimeout', 'greetingTimeout', 'socketTimeout']) {
    if (!url.searchParams.has(name)) url.searchParams.set(name, String(TIMEOUT_MS));
  }
  return url.href;
}
