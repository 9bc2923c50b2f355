/** `holdfast vm untrack`: removes what backups have left on a VM to follow its changes. */
import { forgetTracking, type TrackingOwner } from '#backup';
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
  const marks = await withHypervisor(
    context,
    options,
    async (hypervisor) => await forgetTracking({ hypervisor, vm: name, owner, dryRun, warn }),
  );
  context.terminal.result({ vm: name, dryRun, tracking: marks.map(trackingValue) }, () => {
    const whose = owner === 'all' ? 'any repository' : 'that repository';
    if (marks.length === 0) return `${name} has no bitmaps or checkpoints of ${whose}.`;
    const what = dryRun
      ? 'Would be removed'
      : 'Removed; the next backup into the repository compares whole disks';
    return `${what}:\n\n${trackingTable(marks)}`;
  });
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
