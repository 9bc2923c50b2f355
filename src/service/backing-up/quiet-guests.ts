/**
 * R44, where the owner has set `guestLoad`: a backup whose guest is too busy gives its places in all queues up, waits,
 * and takes them again when the guest has less to do. What it then finds busy again waits again, as long as there is
 * time left.
 *
 * ```
 *   queues ─► look ─► Take Snapshot …          at every start of the service the time begins anew
 *     ▲        └─ busy ─► no place is held; look again and again ─► time is up: the job fails
 *     └──────────────────────┘
 * ```
 */
import { isHoldfastError } from '#base';
import { awaitGuests, lookAtLoads, type GuestLoadLimit, type Hypervisor } from '#backup';
import type { HostVm } from '../hosts/vms.ts';
import type { JobRun } from '../jobs/job-runner.ts';
import type { ServiceParts } from '../service-parts.ts';
import type { ServiceSettings } from '../service-settings.ts';

/** For a backup that has its places: it looks whether the guests are below the limit, and does not wait. */
export function lookedOnce({ guestLoad }: ServiceSettings): {
  readonly guestLoad?: GuestLoadLimit;
} {
  return guestLoad === undefined ? {} : { guestLoad: { ...guestLoad, waitMs: 0 } };
}

/**
 * Runs `take`, and again after each wait for guests that it found busy.
 *
 * @throws {HoldfastError} `ExtensionFailedTimeoutGuestBusy` when the time of `guestLoad` is up; `Cancelled`; what
 *   `take` throws.
 */
export async function whenQuiet(
  parts: ServiceParts,
  run: JobRun,
  { take, vms }: { readonly take: () => Promise<void>; readonly vms: Vms },
): Promise<void> {
  const limit = parts.settings.guestLoad;
  let waitedMs = 0;
  for (;;) {
    try {
      return await take();
    } catch (error) {
      const isBusy = isHoldfastError(error, 'ExtensionFailedTimeoutGuestBusy');
      if (limit === undefined || !isBusy || waitedMs >= limit.waitMs) throw error;
    }
    waitedMs += await wait(parts, run, { limit, waitedMs, vms });
    run.property('Waited for less load', `${Math.round(waitedMs / 1000)} s`);
  }
}

/** As they are now. */
type Vms = () => Promise<readonly HostVm[]>;

async function wait(
  parts: ServiceParts,
  run: JobRun,
  of: { readonly limit: GuestLoadLimit; readonly waitedMs: number; readonly vms: Vms },
): Promise<number> {
  const { clock } = parts;
  const { signal, progress: onProgress } = run;
  const begunMs = clock.monotonicMs();
  const look = async () => {
    const now = await of.vms();
    const hosts = [...new Set(now.map(({ hostKey }) => hostKey))];
    // Connected anew each time: it may be hours, in which daemons are restarted.
    return await withHosts(parts, hosts, async (hypervisors) => {
      const guests = now.map(({ hostKey, name }) => ({
        hypervisor: hypervisors.get(hostKey)!,
        vm: name,
        name,
      }));
      return await lookAtLoads(guests, { ...of.limit, clock, signal });
    });
  };
  const { limit, waitedMs } = of;
  try {
    await awaitGuests(look, { limit, waitedMs, clock, signal, onProgress });
  } catch (error) {
    // The backup meets the same, and knows what to tell of it.
    if (!isHoldfastError(error, 'VmNotFound')) throw error;
  }
  return clock.monotonicMs() - begunMs;
}

/** Lends the hypervisors of all hosts, by their keys. */
export async function withHosts<Result>(
  parts: ServiceParts,
  [key, ...rest]: readonly string[],
  use: (hypervisors: ReadonlyMap<string, Hypervisor>) => Promise<Result>,
): Promise<Result> {
  if (key === undefined) return await use(new Map());
  return await parts.hosts.use(key, async (hypervisor) =>
    withHosts(parts, rest, async (others) => use(new Map([...others, [key, hypervisor]]))),
  );
}
