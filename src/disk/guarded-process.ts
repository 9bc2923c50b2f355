/**
 * Starts a process that does not outlive ours. A guard, a second process, waits at a pipe that the kernel closes
 * when ours ends, however and whenever that happens: the pipe is there before either of the two.
 *
 * ```
 *   ours ──pipe──► guard          "ended" comes: it ends, with nothing to do
 *     └── process ──┘             the pipe closes: it signals until the process has ended, then removes its folder
 * ```
 *
 * `PR_SET_PDEATHSIG` is not enough: a death before the call goes unnoticed, and its one signal is lost while
 * qemu-nbd starts (it sets its state to "running" after it has begun to take signals).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Duplex } from 'node:stream';

export const GUARD_SHELL = 'sh';

/** The shell becomes the process; so the `$$` of the guard is its id. A process that only waits to be reaped has no `exe`. */
const GUARD = `
signal=$1 folder=$2
shift 2
{
  trap "" HUP INT TERM
  read -r word <&3 && exit
  while kill -s "$signal" $$ && [ -e /proc/$$/exe ]; do sleep 0.05; done
  rm -rf -- "$folder"
} >/dev/null 2>&1 &
exec "$@" 3<&-
`;

/**
 * Starts `command` in a session of its own, so that Ctrl-C reaches us and not it. Only its standard error is a pipe.
 * A command that is not there ends with 127.
 *
 * @param options.endSignal what it gets, again and again until it has ended, once our process has.
 * @param options.folder removed then.
 */
export function spawnGuarded(
  [command, ...args]: readonly [string, ...string[]],
  options: { readonly endSignal: 'TERM' | 'KILL'; readonly folder: string },
): ChildProcess {
  const { endSignal, folder } = options;
  const child = spawn(
    GUARD_SHELL,
    ['-c', GUARD, 'holdfast-guard', endSignal, folder, command, ...args],
    { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], detached: true },
  );
  const pipe = child.stdio[3] as Duplex | null;
  pipe?.on('error', () => {}); // No guard is left to be told.
  child.once('exit', () => pipe?.end('ended\n'));
  return child;
}
