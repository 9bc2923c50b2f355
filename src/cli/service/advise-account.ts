/** The storage account that a restore or a boot goes to: the one that is named, or an idle one with room (M38). */
import { UsageError } from '../usage-error.ts';
import { findNamed, fullName, ownPath } from './names.ts';
import type { PointFacts } from './points.ts';
import type { ServiceItem } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import { listAccounts, type AccountFacts } from './storage-accounts.ts';

export type ChosenAccount = AccountFacts & {
  /** What a restore meets there; null: no other restore. */
  readonly warning: string | null;
};

type Advice = { readonly storageAccountId: string; readonly warning: string | null };

/** Says on stderr which one was chosen, where there are several. */
export async function accountFor(
  { service, terminal }: ServiceContext,
  { item, point }: { readonly item: ServiceItem; readonly point: PointFacts },
  options: {
    readonly storageAccount?: string;
    readonly disks?: readonly number[];
    readonly onlyOsDisk?: boolean;
  },
): Promise<ChosenAccount> {
  const { storageAccount: name, onlyOsDisk } = options;
  const disks = onlyOsDisk === true ? [] : options.disks;
  const accounts = await listAccounts(service);
  if (accounts.length === 0 && name === undefined) {
    throw new UsageError(
      'there is no storage account to restore to: holdfast storage-account add NAME --path DIR',
    );
  }
  const named = name === undefined ? undefined : findNamed(accounts, name, 'storage account');
  const properties = {
    ...(named === undefined ? {} : { storageAccountId: named.id }),
    ...(disks === undefined ? {} : { restoreDiskLunList: disks }),
  };
  const at = ownPath(`${item.id}/recoveryPoints/${point.id}/adviseStorageAccount`);
  const { storageAccountId, warning } = (await service.http.json('POST', at, {
    body: { properties },
  })) as Advice;
  const account = accounts.find(({ id }) => id.toLowerCase() === storageAccountId.toLowerCase());
  if (account === undefined) throw new TypeError(`no storage account ${storageAccountId}`);
  if (named === undefined && accounts.length > 1) {
    terminal.note(
      `Of ${accounts.length} storage accounts ${fullName(account)} is taken: ${account.path}`,
    );
  }
  return { ...account, warning };
}
