/**
 * Moves the disks of a booted VM to their own images: a copy that is broken off, because the point was not served
 * for a while or the images had no room, is begun again.
 */
import {
  HoldfastError,
  isHoldfastError,
  throwIfCancelled,
  type ProgressListener,
  pause,
} from '#base';
import { fullText, hasRoom, type BootedParts } from './boot-watch.ts';

const RETRY_MS = 1000;
/** One after the other, without a full file system. */
const MOST_FAILURES = 5;

export type MoveOptions = {
  readonly onProgress?: ProgressListener;
  readonly signal?: AbortSignal;
};

/** @throws {HoldfastError} as `VmCreation.moveToImage`; `VmNotRunning` if it was shut down. */
export async function moveDisk(
  parts: BootedParts,
  disk: string,
  options: MoveOptions,
): Promise<void> {
  const { creation, name, clock } = parts;
  for (let failures = 0; ;) {
    throwIfCancelled(options.signal);
    try {
      await creation.moveToImage(name, disk, options);
      return;
    } catch (error) {
      throwIfCancelled(options.signal);
      if (!isHoldfastError(error) || error.kind !== 'unavailable') throw error;
      if (await isOff(parts)) throw shutDown(name, error);
      if (await hasRoom(parts.directory)) failures += 1;
      else await untilRoom(parts, options.signal);
      if (failures === MOST_FAILURES) throw error;
    }
    await pause(clock, RETRY_MS, options.signal);
  }
}

async function untilRoom(parts: BootedParts, signal: AbortSignal | undefined): Promise<void> {
  parts.warn(fullText(parts.name, parts.directory));
  while (!(await hasRoom(parts.directory))) {
    throwIfCancelled(signal);
    await pause(parts.clock, RETRY_MS, signal);
    if (await isOff(parts)) return;
  }
}

/** A VM that cannot be asked is taken for one that runs. */
export async function isOff({ creation, name }: BootedParts): Promise<boolean> {
  try {
    return (await creation.runState(name)) === 'off';
  } catch (error) {
    if (!isHoldfastError(error, 'HypervisorUnavailable')) throw error;
    return false;
  }
}

function shutDown(name: string, cause: unknown): HoldfastError {
  return new HoldfastError(
    'VmNotRunning',
    `${name} was shut down before its disks had been copied; what it wrote is in its images`,
    { cause, details: { vm: name } },
  );
}
