/**
 * Has a running domain stand still for a moment in which its guest must write nothing. Whatever becomes of us
 * meanwhile, it runs on: a process of its own waits for the end of our pipe to it, which the kernel closes with us.
 *
 * ```
 *   running ─► watchdog started ─► suspend ─► the work ─► resume ─► the watchdog told "resumed": it ends
 *                                     └─ our pipe ends, or PATIENCE_S are over: the watchdog resumes the domain
 * ```
 *
 * It resumes only what is paused as a user pauses, and looks once: a domain that runs, crashed or is gone is left
 * as it is. A domain that its owner had paused before is not touched at all.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { HoldfastError } from '#base';
import type { Virsh } from './virsh.ts';

/** Longer than libvirt takes on a busy host, shorter than guests' own watchdogs wait. */
const PATIENCE_S = 10;

/** While libvirt does not answer it is asked again, for a minute. Exits with 0 only if it was told in time. */
const WATCHDOG = `
trap '' HUP INT TERM
[ "$(timeout -s KILL "$3" head -n 1)" = resumed ] && exit 0
for try in $(seq 60); do
  if state=$(virsh -q -c "$1" domstate "$2" --reason); then
    [ "$state" = 'paused (user)' ] || exit 3
    virsh -q -c "$1" resume "$2" && exit 3
  fi
  sleep 1
done
exit 3`;

export type StandingDomain = {
  readonly virsh: Virsh;
  readonly uuid: string;
  readonly vmName: string;
};

/**
 * Runs `work` while the domain does not run. On return it runs on, if it did before; also after a failure.
 *
 * @throws {HoldfastError} what `work` does; `HypervisorFailed` where the domain did not stand still until the end
 *   of `work`: what that saw is of no use.
 */
export async function whileStandingStill<Result>(
  domain: StandingDomain,
  work: () => Promise<Result>,
): Promise<Result> {
  const { virsh, uuid } = domain;
  if (!(await isRunning(domain))) return await checked(domain, work);
  const watchdog = await startWatchdog(domain);
  const suspended = async (): Promise<Result> => {
    await virsh.run(['suspend', uuid]);
    return await checked(domain, work);
  };
  const [outcome] = await Promise.allSettled([suspended()]);
  const stood = await resume(domain, watchdog);
  if (outcome.status === 'rejected') throw outcome.reason;
  if (!stood) throw moved(domain);
  return outcome.value;
}

async function checked<Result>(
  domain: StandingDomain,
  work: () => Promise<Result>,
): Promise<Result> {
  const result = await work();
  if (await isRunning(domain)) throw moved(domain);
  return result;
}

async function isRunning({ virsh, uuid }: StandingDomain): Promise<boolean> {
  return (await virsh.run(['domstate', uuid])).trim() === 'running';
}

function moved({ vmName }: StandingDomain): HoldfastError {
  return new HoldfastError(
    'HypervisorFailed',
    `"${vmName}" was resumed by somebody while its snapshot was taken, or libvirt took more than ${PATIENCE_S} s for ` +
      'it: the snapshot is not of one instant. Run the backup again',
    { details: { vm: vmName } },
  );
}

/** @returns whether the watchdog has done nothing. Where the domain cannot be resumed, it goes on trying. */
async function resume({ virsh, uuid }: StandingDomain, watchdog: Watchdog): Promise<boolean> {
  try {
    await virsh.run(['resume', uuid]);
  } catch {
    watchdog.leave();
    return false;
  }
  return await watchdog.tell();
}

type Watchdog = {
  /** The domain runs. @returns whether it had not resumed it before. */
  tell(): Promise<boolean>;
  /** It resumes the domain at once, if that is paused. */
  leave(): void;
};

async function startWatchdog({ virsh, uuid }: StandingDomain): Promise<Watchdog> {
  const script = ['sh', '-c', WATCHDOG, 'holdfast-watchdog', virsh.uri, uuid, String(PATIENCE_S)];
  const child = spawn('env', ['LC_ALL=C', ...script], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // Ctrl-C on the terminal is not for it.
    detached: true,
  });
  const exit = exitOf(child);
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  const stdin = child.stdin!;
  stdin.on('error', () => {}); // It has ended before it was told: its exit says so.
  child.unref();
  return {
    tell: async () => {
      child.ref();
      stdin.end('resumed\n');
      return (await exit) === 0;
    },
    leave: () => void stdin.destroy(),
  };
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  return await new Promise((resolve) => {
    child.once('exit', resolve);
    child.once('error', () => resolve(null));
  });
}
