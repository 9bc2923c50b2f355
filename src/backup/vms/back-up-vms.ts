/**
 * Takes recovery points of several VMs at one instant (decision 0013), of one hypervisor or of several: all of them or
 * none. `shared-instant.ts` draws how they wait for each other; each is backed up as it would be alone.
 */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError, throwIfCancelled, type Clock } from '#base';
import type { ProgressListener } from '#base';
import type { QuiesceStep } from '#hypervisor';
import { commitTogether, newPointId, type Repository } from '#repository';
import type { Distrusted } from './again-whole.ts';
import { backUpVmOnce } from './back-up-vm.ts';
import { awaitGuests, lookAtLoads, type LoadLook } from './guest-wait.ts';
import { InstantOfSeveral } from './shared-instant.ts';
import type { VmBackupRequest, VmBackupResult } from './vm-backup.ts';
import type { PointGroup } from './vm-note.ts';

export type GroupMember = Pick<
  VmBackupRequest,
  'hypervisor' | 'vm' | 'contact' | 'item' | 'newPoint' | 'disks'
>;

export type GroupBackupRequest = {
  /** Open as owner. */
  readonly repository: Repository;
  /** Of the consistency group; absent: one is drawn for this set of points. */
  readonly group?: string;
  /** One or more; no VM and no item twice. */
  readonly members: readonly GroupMember[];
  /** An empty folder, for scratch images and sockets. */
  readonly scratchDir: string;
  /** False: no guest is asked, and the points are crash-consistent. */
  readonly quiesces: boolean;
  /** As of one VM: nothing begins before all guests are below it at one look. */
  readonly guestLoad?: VmBackupRequest['guestLoad'];
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
  readonly warn: (message: string) => void;
  /** Told of each step in a guest as it ends, with the VM's name (of several VMs of one name, the item's). */
  readonly onStep?: (vm: string, step: QuiesceStep) => void;
  /**
   * Runs the transfers and the commit when their turn has come, which is after the instant, when no guest is needed
   * any more; meanwhile the hypervisors hold the snapshots. Absent: at once.
   */
  readonly inTurn?: (transfers: () => Promise<void>) => Promise<void>;
  /** Told before the transfer of a VM, with its name; they follow one another. */
  readonly onTransfer?: (vm: string) => Promise<void>;
  readonly threads?: number;
};

export type GroupBackupResult = {
  readonly group: PointGroup;
  readonly seconds: number;
  /** In the order of the request. */
  readonly members: readonly (VmBackupResult & { readonly vm: string; readonly item: string })[];
};

type Planned = GroupMember & {
  readonly item: string;
  readonly point: string;
  /** What people are told: the VM's, or where that is there twice the item's. */
  readonly name: string;
};

/**
 * Backs the VMs up. All or nothing: where one fails no point appears, every guest runs on, and the next backup of each
 * finds the changes of both.
 *
 * @throws {HoldfastError} what `backUpVm` throws for the first VM that failed, which the message names;
 *   `ArgumentInvalid`; with `guestLoad` as `awaitGuests`.
 */
export async function backUpVms(request: GroupBackupRequest): Promise<GroupBackupResult> {
  const { repository, clock, warn } = request;
  const startedMs = clock.monotonicMs();
  const members = request.members.map((member) => ({
    ...member,
    item: member.item ?? member.vm,
    point: member.newPoint ?? newPointId(repository.parts),
    name: request.members.some((other) => other !== member && other.vm === member.vm)
      ? (member.item ?? member.vm)
      : member.vm,
  }));
  checkMembers(members);
  const group: PointGroup = {
    id: request.group ?? newPointId(repository.parts),
    points: members.map(({ item, point }) => ({ item, point })),
  };
  const waited = await waitForGuests(request, members);
  const distrusted = new Map<string, Map<string, string>>();
  for (;;) {
    try {
      const results = await attempt(request, { members, group, distrusted });
      const seconds = (clock.monotonicMs() - startedMs) / 1000;
      return { group, seconds, members: withSteps(results, members, waited) };
    } catch (error) {
      if (!isHoldfastError(error, 'HintUnusable')) throw error;
      const { vm, disk } = error.details as { readonly vm: string; readonly disk?: string };
      const disks = distrusted.get(vm) ?? new Map<string, string>();
      if (disk === undefined || disks.has(disk)) throw error;
      distrusted.set(vm, disks.set(disk, error.message));
      warn(`${error.message}; the backup of the group begins again, and copies all of it`);
    }
  }
}

async function waitForGuests(
  { guestLoad: limit, quiesces, clock, signal, onProgress, onStep }: GroupBackupRequest,
  members: readonly Planned[],
): Promise<LoadLook['steps']> {
  if (limit === undefined || !quiesces) return [];
  for (const { contact } of members) await contact?.close();
  const look = async () => await lookAtLoads(members, { ...limit, clock, signal });
  const { steps } = await awaitGuests(look, { limit, clock, signal, onProgress });
  for (const { name, step } of steps) onStep?.(name, step);
  return steps;
}

/** Each member's begin with what was seen of its load. */
function withSteps(
  results: GroupBackupResult['members'],
  members: readonly Planned[],
  waited: LoadLook['steps'],
): GroupBackupResult['members'] {
  return results.map((result, place) => {
    const own = waited.filter(({ name }) => name === members[place]!.name);
    return { ...result, steps: [...own.map(({ step }) => step), ...result.steps] };
  });
}

function checkMembers(members: readonly Planned[]): void {
  if (members.length === 0) throw new HoldfastError('ArgumentInvalid', 'the group has no VM');
  const isSame = (a: Planned, b: Planned): boolean =>
    a.item === b.item || (a.hypervisor === b.hypervisor && a.vm === b.vm);
  const twice = members.find(
    (member, at) => members.findIndex((one) => isSame(one, member)) !== at,
  );
  if (twice === undefined) return;
  throw new HoldfastError('ArgumentInvalid', `${twice.name} is in the group twice`);
}

async function attempt(
  request: GroupBackupRequest,
  {
    members,
    group,
    distrusted,
  }: {
    readonly members: readonly Planned[];
    readonly group: PointGroup;
    /** By VM. */
    readonly distrusted: ReadonlyMap<string, Distrusted>;
  },
): Promise<GroupBackupResult['members']> {
  const { repository, clock } = request;
  throwIfCancelled(request.signal);
  const instant = new InstantOfSeveral({
    group,
    vms: members.map(({ name }) => name),
    clock,
    commit: async (points) => await commitTogether(repository.parts, points),
    inTurn: request.inTurn ?? (async (transfers) => await transfers()),
  });
  const backups = members.map(async (member, place) => {
    const whole = distrusted.get(member.name) ?? new Map<string, string>();
    try {
      const result = await backUpMember(request, { member, place, instant, distrusted: whole });
      return { vm: member.vm, item: member.item, ...result };
    } catch (error) {
      const named = ofMember(member.name, error, instant);
      instant.fail(named);
      throw named;
    }
  });
  const ended = await Promise.allSettled(backups);
  if (instant.failure !== undefined) throw instant.failure;
  return ended.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}

async function backUpMember(
  request: GroupBackupRequest,
  of: {
    readonly member: Planned;
    readonly place: number;
    readonly instant: InstantOfSeveral;
    readonly distrusted: Distrusted;
  },
): Promise<VmBackupResult> {
  const { repository, quiesces, clock, signal, threads, onProgress, onStep } = request;
  const { member, instant, distrusted } = of;
  const { point: newPoint, name, ...rest } = member;
  const shared = instant.of(name);
  const scratchDir = join(request.scratchDir, String(of.place));
  await mkdir(scratchDir, { recursive: true });
  await chmod(scratchDir, 0o711); // QEMU is somebody else, and passes through.
  return await backUpVmOnce(
    {
      ...rest,
      repository,
      newPoint,
      scratchDir,
      quiesces,
      clock,
      signal: AbortSignal.any([instant.signal, ...(signal === undefined ? [] : [signal])]),
      warn: (message) => request.warn(`${name}: ${message}`),
      ...(onProgress === undefined
        ? {}
        : {
            onProgress: (progress) =>
              onProgress({ ...progress, phase: `${name}: ${progress.phase}` }),
          }),
      ...(onStep === undefined ? {} : { onStep: (step) => onStep(name, step) }),
      inTurn: async (transfer) =>
        shared.inTurn(async () => {
          await request.onTransfer?.(name);
          return await transfer();
        }),
      ...(threads === undefined ? {} : { threads }),
    },
    { distrusted, shared },
  );
}

/** With the VM's name, which a message of its hypervisor need not have. */
function ofMember(vm: string, error: unknown, { isCommitting }: InstantOfSeveral): unknown {
  if (!isHoldfastError(error) || error.code === 'Cancelled') return error;
  const none = isCommitting ? '' : ' (no point of the group was made)';
  const message = `"${vm}" of the group: ${error.message}${none}`;
  return new HoldfastError(error.code, message, {
    cause: error,
    details: { ...error.details, vm },
  });
}
