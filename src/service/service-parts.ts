/** What every part of the service works with; made once by `openService`, handed down, never global. */
import type { Caller } from '#backup';
import type { MasterKey } from '#keyvault';
import type { DataFolder } from './data-folder/data-folder.ts';
import type { ClockRest } from './expiring/clock-rest.ts';
import type { HostConnections } from './hosts/host-connections.ts';
import type { JobRunner } from './jobs/job-runner.ts';
import type { Underway } from './operations/begin-operation.ts';
import type { RecordParts } from './record-parts.ts';
import type { Repositories } from './repositories/repositories.ts';
import type { Turns } from './turns.ts';
import type { VaultReach } from './vaults/vault-reach.ts';

export type ServiceParts = RecordParts & {
  readonly dataFolder: DataFolder;
  readonly masterKey: MasterKey;
  /** For the data plane. */
  readonly caller: Caller;
  /** One change of a vault at a time (`changeVault`). */
  readonly turns: Turns;
  /** What accepted operations are doing. */
  readonly underway: Underway;
  /** Lends repositories of vaults that are in reach; of others `VaultUnavailable`. */
  readonly repositories: Repositories;
  readonly reach: VaultReach;
  /** Lends connections to hosts. */
  readonly hosts: HostConnections;
  readonly jobs: JobRunner;
  /** Whether the wall clock may decide what goes. */
  readonly clockRest: ClockRest;
};
