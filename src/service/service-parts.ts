/** What every part of the service works with; made once by `openService`, handed down, never global. */
import type { Clock } from '#base';
import type { Caller } from '#backup';
import type { MasterKey } from '#keyvault';
import type { OpenCatalogue } from './catalogue/catalogue.ts';
import type { DataFolder } from './data-folder/data-folder.ts';
import type { HostConnections } from './hosts/host-connections.ts';
import type { JobRunner } from './jobs/job-runner.ts';
import type { Repositories } from './repositories/repositories.ts';
import type { ServiceSettings } from './service-settings.ts';
import type { Turns } from './turns.ts';

export type ServiceLog = {
  readonly info: (facts: object, message: string) => void;
  readonly warn: (facts: object, message: string) => void;
  readonly error: (facts: object, message: string) => void;
};

/** Enough for what only keeps records. */
export type RecordParts = {
  readonly catalogue: OpenCatalogue;
  readonly clock: Clock;
  readonly random: (sizeBytes: number) => Buffer;
  readonly settings: ServiceSettings;
  readonly log: ServiceLog;
};

export type ServiceParts = RecordParts & {
  readonly dataFolder: DataFolder;
  readonly masterKey: MasterKey;
  /** For the data plane. */
  readonly caller: Caller;
  /** One change of a vault at a time (`changeVault`). */
  readonly turns: Turns;
  /** Lends vaults' repositories. */
  readonly repositories: Repositories;
  /** Lends connections to hosts. */
  readonly hosts: HostConnections;
  readonly jobs: JobRunner;
};
