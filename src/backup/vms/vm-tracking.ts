/** What backups have left on a VM to follow its changes: given up for a repository, or for all. */
import type { Hypervisor, TrackingMark } from '#hypervisor';
import { repositoryIdAt } from '../repository-id.ts';

/** Whose tracking: a repository in a folder, one by its id, or every one. */
export type TrackingOwner =
  | { readonly repository: string }
  | { readonly repositoryId: string }
  | 'all';

export type ForgetRequest = {
  readonly hypervisor: Hypervisor;
  readonly vm: string;
  readonly owner: TrackingOwner;
  /** Only looks what there is. */
  readonly dryRun: boolean;
  readonly warn: (message: string) => void;
};

export type ForgottenTracking = {
  /** With `dryRun` what would be removed. */
  readonly removed: readonly TrackingMark[];
  /** In backing images, which other images may be based on. */
  readonly left: readonly TrackingMark[];
};

/**
 * Removes bitmaps and checkpoints of Holdfast from the VM, running or not; those of other products stay. The
 * repository is not changed, and needs no password: its next backup of the VM compares whole disks.
 *
 * @throws {HoldfastError} as `VmTracking.remove`; `RepositoryNotFound`.
 */
export async function forgetTracking(request: ForgetRequest): Promise<ForgottenTracking> {
  const { hypervisor, vm, owner, dryRun, warn } = request;
  const id = await idOf(owner);
  const all = await hypervisor.tracking.list(vm, warn);
  const marks = all.filter(({ repositoryId }) => id === undefined || repositoryId === id);
  const left = marks.filter(({ backingImage }) => backingImage !== undefined);
  if (dryRun) return { removed: marks.filter((mark) => !left.includes(mark)), left };
  // Disks that cannot be looked at have been told.
  return { removed: await hypervisor.tracking.remove(vm, id, () => {}), left };
}

async function idOf(owner: TrackingOwner): Promise<string | undefined> {
  if (owner === 'all') return undefined;
  return 'repositoryId' in owner ? owner.repositoryId : await repositoryIdAt(owner.repository);
}
