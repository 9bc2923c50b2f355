/**
 * Looks after a VM that runs on overlays: says at once why QEMU has paused it, and lets it run on.
 *
 * ```
 *   running ─► failed, its file system full ──room──► resumed ─► running
 *      └─────► failed ──later and later──► resumed ─► running, or failed again
 * ```
 *
 * A read that failed is tried again by the guest's device: QEMU connects anew to a point that is served again.
 * A VM that somebody else paused is left alone.
 */
import { statfs } from 'node:fs/promises';
import { isHoldfastError, type Clock, pause } from '#base';
import type { Hypervisor } from '#hypervisor';

const POLL_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
/** The first attempts after the point is served again only make QEMU connect. */
const SILENT_ATTEMPTS = 3;
/** Room that is worth going on for: that much, or that part of the file system. */
const ROOM_BYTES = 64 * 1024 * 1024;
const ROOM_PART = 0.05;

export type BootedParts = {
  readonly creation: Hypervisor['creation'];
  readonly name: string;
  /** Of its overlays. */
  readonly directory: string;
  readonly clock: Clock;
  readonly warn: (message: string) => void;
};

export type BootWatch = {
  /** Idempotent; on return nothing of it is under way. */
  readonly stop: () => Promise<void>;
};

export function watchBooted(parts: BootedParts): BootWatch {
  const ended = new AbortController();
  const watching = watch(parts, ended.signal);
  return {
    stop: async () => {
      ended.abort();
      await watching;
    },
  };
}

async function watch(parts: BootedParts, signal: AbortSignal): Promise<void> {
  const { creation, name, clock, warn } = parts;
  let said = '';
  let attempts = 0;
  const say = (text: string): void => {
    if (text !== said && text !== '') warn(text);
    said = text;
  };
  for (;;) {
    const pauseMs = Math.min(LONGEST_PAUSE_MS, POLL_MS * 2 ** Math.max(0, attempts - 3));
    await pause(clock, pauseMs, signal);
    if (signal.aborted) return;
    try {
      const state = await creation.runState(name);
      if (state === 'failed' && !(await hasRoom(parts.directory))) {
        say(fullText(name, parts.directory));
      } else if (state === 'failed') {
        attempts += 1;
        if (attempts > SILENT_ATTEMPTS) say(failedText(name));
        await creation.resume(name);
      } else if (state === 'running') {
        if (said !== '') warn(`${name} runs on`);
        said = '';
        attempts = 0;
      }
    } catch (error) {
      // It ends, or its socket is busy: whoever moves it or powers it off says so.
      if (!isHoldfastError(error)) throw error;
    }
  }
}

export function fullText(name: string, directory: string): string {
  return `${name} is paused, or its disks cannot be copied on: the file system of "${directory}" is full. Make room there; it goes on by itself then`;
}

function failedText(name: string): string {
  return `${name} is paused: a disk of it could not be read or written. Look at the storage of its images and of the repository (holdfast repo verify); it is tried again until it works`;
}

/** Whether there is room for the guest and for copying. */
export async function hasRoom(directory: string): Promise<boolean> {
  const { bavail, bsize, blocks } = await statfs(directory);
  return bavail * bsize >= Math.min(ROOM_BYTES, blocks * bsize * ROOM_PART);
}
