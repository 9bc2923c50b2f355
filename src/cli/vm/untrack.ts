/** `holdfast vm untrack`: removes what backups have left on a VM to follow its changes. */
import { shellQuoted } from '#base';
import { forgetTracking, type TrackingMark, type TrackingOwner } from '#backup';
import type { Context } from '../context.ts';
import { UsageError } from '../usage-error.ts';
import type { ConnectOptions } from './options.ts';
import { trackingTable, trackingValue } from './tracking-table.ts';
import { withHypervisor } from './with-hypervisor.ts';

export type UntrackOptions = ConnectOptions & {
  readonly repo?: string;
  readonly repositoryId?: string;
  readonly all?: boolean;
  readonly dryRun?: boolean;
};

export async function untrack(
  context: Context,
  name: string,
  options: UntrackOptions,
): Promise<void> {
  const owner = ownerIn(options);
  const dryRun = options.dryRun === true;
  const { warn } = context.terminal;
  const { removed, left } = await withHypervisor(
    context,
    options,
    async (hypervisor) => await forgetTracking({ hypervisor, vm: name, owner, dryRun, warn }),
  );
  const document = { tracking: removed.map(trackingValue), left: left.map(trackingValue) };
  context.terminal.result({ vm: name, dryRun, ...document }, () => {
    const whose = owner === 'all' ? 'any repository' : 'that repository';
    const stays = left.map(
      (mark) =>
        `In an image that others may be based on, and left there; to remove it: ${removalOf(mark)}`,
    );
    const rest = stays.length === 0 ? '' : `\n\n${stays.join('\n')}`;
    if (removed.length === 0)
      return `${name} has no bitmaps or checkpoints of ${whose}${left.length === 0 ? '' : ' of its own'}.${rest}`;
    const what = dryRun
      ? 'Would be removed'
      : 'Removed; the next backup into the repository compares whole disks';
    return `${what}:\n\n${trackingTable(removed)}${rest}`;
  });
}

function removalOf({ backingImage = '', name }: TrackingMark): string {
  return `qemu-img bitmap --remove ${shellQuoted(backingImage)} ${name}`;
}

function ownerIn({ repo, repositoryId, all }: UntrackOptions): TrackingOwner {
  const given = [repo, repositoryId, all === true ? true : undefined];
  if (given.filter((value) => value !== undefined).length !== 1) {
    throw new UsageError(
      'whose tracking? Give one of --repo REPO, --repository-id ID ("vm show NAME --connect URI" tells it) and --all',
    );
  }
  if (repo !== undefined) return { repository: repo };
  if (repositoryId === undefined) return 'all';
  if (/^[0-9a-f]{32}$/.test(repositoryId)) return { repositoryId };
  throw new UsageError(`--repository-id ${repositoryId}: the id of a repository has 32 hex digits`);
}
