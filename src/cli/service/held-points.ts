/** `holdfast point …`: one recovery point is pinned, kept longer, deleted, brought back. */
import { shellQuoted } from '#base';
import { dateToCome } from '../arguments/dates.ts';
import { fullName } from './names.ts';
import { confirm } from './confirm.ts';
import { findPoint } from './points.ts';
import { UsageError } from '../usage-error.ts';
import { findItem, findVault, type ServiceItem } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import { shortTime } from './time.ts';

export type HoldOptions = { readonly vault?: string };
export type Hold = 'pin' | 'unpin' | 'extend' | 'delete' | 'undelete';

/** Of an id, for what is changed by it. */
const SHORTEST_ID = 4;

type HeldPoint = {
  readonly name: string;
  readonly isPinned: boolean;
  readonly fate: 'kept' | 'softDeleted' | 'removed';
  readonly keptBy: string;
  readonly expiryTime?: string;
  readonly softDeletedUntil?: string;
  readonly jobId?: string;
};

/** @param of `vm`: its name; `point`: its id, how the id begins, or `latest`. */
export async function holdPoint(
  context: ServiceContext,
  hold: Hold,
  of: HoldOptions & {
    readonly vm: string;
    readonly point: string;
    readonly until?: string;
    readonly yes?: boolean;
  },
): Promise<void> {
  const { service, terminal } = context;
  // Where there are few points, a slip of the finger is how one of them begins.
  if (of.point !== '' && of.point.length < SHORTEST_ID) {
    throw new UsageError(
      `"${of.point}" is too short to ${hold} a recovery point by: write at least ${SHORTEST_ID} letters of its id; holdfast points ${shellQuoted(of.vm)} lists them`,
    );
  }
  const item = await findItem(service, of.vm, of.vault);
  const { id, resourceId } = await findPoint(service, item, of.point);
  const vm = fullName(item.vm);
  const expiryTime =
    of.until === undefined ? undefined : dateToCome('--until', of.until, service.clock);
  const isForEver = hold === 'pin' && (await isImmutable(service, item));
  if (isForEver) {
    const what = `pin the recovery point ${id} of ${vm} (in an immutable vault nobody can unpin it)`;
    await confirm(context, what, of.yes);
  }
  if (hold === 'delete') await confirm(context, `delete the recovery point ${id} of ${vm}`, of.yes);
  const own = resourceId!.replace('Microsoft.RecoveryServices', 'Holdfast.Backup');
  const body = expiryTime === undefined ? {} : { expiryTime };
  const held = (await service.http.json('POST', `${own}/${hold}`, { body })) as HeldPoint;
  terminal.result(
    { ...held, vm },
    () => `Recovery point ${id} of ${vm} ${isForEver ? PINNED_FOR_EVER : words(held)}.`,
  );
}

const PINNED_FOR_EVER = 'is pinned, and stays: its vault is immutable';

async function isImmutable(service: Service, { vault }: ServiceItem): Promise<boolean> {
  const { resource } = await findVault(service, fullName(vault));
  const state = resource.properties?.securitySettings?.immutabilitySettings?.state ?? 'Disabled';
  return state !== 'Disabled';
}

function words({ fate, isPinned, keptBy, expiryTime, softDeletedUntil }: HeldPoint): string {
  if (fate === 'softDeleted') {
    return `is soft-deleted until ${shortTime(softDeletedUntil)}; "holdfast point undelete" brings it back`;
  }
  if (fate === 'removed') return 'goes with the next clean-up';
  if (isPinned) return 'is pinned: it stays until it is unpinned';
  if (keptBy === 'latest') return 'is kept as the newest';
  return expiryTime === undefined ? 'is kept' : `is kept until ${shortTime(expiryTime)}`;
}
