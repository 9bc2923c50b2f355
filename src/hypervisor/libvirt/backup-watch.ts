/**
 * Watches a backup that is being read: whether its VM and job are still there, and its scratch folder has
 * room. When room runs out the job is ended, so that the guest runs on; one that QEMU has paused
 * already is resumed.
 */
import { HoldfastError, isHoldfastError, type Clock, pause, toldElsewhere } from '#base';
import { endBackup, resumeAfterIoError, runningBackup } from './jobs.ts';
import { freeBytes, inMiB, scratchFull, type ScratchNeeds } from './scratch-space.ts';
import type { Virsh } from './virsh.ts';

const PERIOD_MS = 250;
/** libvirt is asked at every so many looks at the folder. */
const LOOKS_PER_QUESTION = 8;

export type BackupWatch = {
  /** Rejects when the backup is lost; never resolves. */
  readonly lost: Promise<never>;
  /** Idempotent. On return nothing is watched any more. */
  stop(): Promise<void>;
};

export type Watched = {
  readonly virsh: Virsh;
  readonly clock: Clock;
  readonly uuid: string;
  readonly vmName: string;
  readonly socketPath: string;
  readonly scratchDir: string;
  readonly needs: ScratchNeeds;
};

export function watchBackup(watched: Watched): BackupWatch {
  const stopping = new AbortController();
  let lose: (reason: unknown) => void = () => {};
  const lost = new Promise<never>((_resolve, reject) => {
    lose = reject;
  });
  void toldElsewhere(lost); // Whoever reads the snapshot looks at it; nobody has to.
  const ended = look(watched, stopping.signal).then(
    (reason) => {
      if (reason !== undefined) lose(reason);
    },
    (error: unknown) => lose(error),
  );
  return {
    lost,
    stop: async () => {
      stopping.abort();
      await ended;
    },
  };
}

/** Looks until told to stop (undefined) or the backup is lost. */
async function look(watched: Watched, signal: AbortSignal): Promise<Error | undefined> {
  const { clock } = watched;
  for (let looks = 1; ; looks += 1) {
    await pause(clock, PERIOD_MS, signal);
    if (signal.aborted) return undefined;
    const full = await fullScratch(watched);
    if (full !== undefined) return full;
    if (looks % LOOKS_PER_QUESTION !== 0) continue;
    const gone = await goneBackup(watched);
    if (gone !== undefined && !signal.aborted) return gone;
  }
}

async function fullScratch(watched: Watched): Promise<Error | undefined> {
  const { scratchDir, needs, virsh, uuid } = watched;
  const free = await freeBytes(scratchDir);
  if (free >= needs.reserveBytes) return undefined;
  await endBackup(watched, uuid);
  await resumeAfterIoError(virsh, uuid);
  return scratchFull(
    scratchDir,
    `has only ${inMiB(free)} left, and the backup was ended before the guest of "${watched.vmName}" would have been paused`,
  );
}

/** libvirt that does not answer just now takes nothing away: QEMU serves on. */
async function goneBackup(watched: Watched): Promise<Error | undefined> {
  const { virsh, uuid, vmName, socketPath } = watched;
  try {
    if ((await runningBackup(virsh, uuid))?.socketPath === socketPath) return undefined;
  } catch (error) {
    if (isHoldfastError(error, 'HypervisorUnavailable') || isHoldfastError(error, 'VmBusy')) {
      return undefined;
    }
    throw error;
  }
  return new HoldfastError(
    'HypervisorFailed',
    `the backup job of "${vmName}" has ended by itself: the VM was shut down or killed, or somebody aborted the job`,
    { details: { vm: vmName } },
  );
}
