/** Lends connections to hosts' hypervisors: one a use, closed after it, whatever happens. */
import type { Hypervisor } from '#backup';

export type HostConnections = {
  /** @throws {HoldfastError} `ResourceNotFound` for an unknown host; `HypervisorUnavailable`; what `work` throws. */
  readonly use: <Result>(
    hostKey: string,
    work: (hypervisor: Hypervisor) => Promise<Result>,
  ) => Promise<Result>;
  /**
   * The host's VMs; one listing a host at a time.
   *
   * @throws {HoldfastError} as `use`; `HypervisorUnavailable` after `settings.hostTimeoutMs`, and at once while an
   *   earlier listing still hangs.
   */
  readonly list: (hostKey: string) => ReturnType<Hypervisor['list']>;
  /**
   * Whether the address works, within the same time.
   *
   * @param mayBeAbsent whether the socket of a QEMU is good while nobody listens there: its VM is off.
   * @throws {HoldfastError} `ArgumentInvalid`, `HypervisorUnavailable`, `ToolMissing`.
   */
  readonly probe: (uri: string, options: { readonly mayBeAbsent: boolean }) => Promise<void>;
};
