/** Lends connections to hosts' hypervisors: one a use, closed after it, whatever happens. */
import type { Hypervisor } from '#backup';

export type HostConnections = {
  /** @throws {HoldfastError} `ResourceNotFound` for an unknown host; `HypervisorUnavailable`; what `work` throws. */
  readonly use: <Result>(
    hostKey: string,
    work: (hypervisor: Hypervisor) => Promise<Result>,
  ) => Promise<Result>;
  /** Whether the address works. @throws {HoldfastError} `ArgumentInvalid`, `HypervisorUnavailable`, `ToolMissing`. */
  readonly probe: (uri: string) => Promise<void>;
};
