/**
 * Whatever becomes of us while a VM of QEMU stands still, it goes on: a process of its own waits for the end of our
 * pipe to it, which the kernel closes with us.
 *
 * ```
 *   started, ready ─► mark, stop, the instant, cont, mark removed ─► told "over": it ends
 *                        └─ our pipe ends: it finds the mark, continues the VM and removes the mark
 * ```
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { HoldfastError } from '#base';

const PROCESS = fileURLToPath(new URL('./stand-still-process.ts', import.meta.url));

export type StandStillGuard = {
  /** @throws {HoldfastError} `HypervisorFailed`: there is none, and the VM must not be stopped. */
  readonly ready: () => Promise<void>;
  /** The VM will not be stopped any more. Idempotent. */
  readonly over: () => void;
};

/** Begins to start it; it is not waited for. */
export function guardStandStill(qmpPath: string): StandStillGuard {
  const child = spawn(process.execPath, [...process.execArgv, PROCESS, qmpPath], {
    stdio: ['pipe', 'pipe', 'ignore'],
    detached: true,
  });
  const { stdin, stdout } = child;
  stdin.on('error', () => {}); // It has ended: `ready` says so.
  const begun = Promise.race([
    once(stdout, 'data').then(() => true),
    once(child, 'close').then(() => false),
  ]).catch(() => false);
  return {
    ready: async () => {
      if (await begun) return;
      throw new HoldfastError(
        'HypervisorFailed',
        'the process that lets the VM go on if this one is killed could not be started: the VM is not made to stand still',
      );
    },
    over: () => {
      stdin.end('over\n');
      stdout.destroy();
      child.unref();
    },
  };
}
