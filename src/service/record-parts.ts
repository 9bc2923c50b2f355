/** What the parts of the service that only keep records work with. */
import type { Clock } from '#base';
import type { OpenCatalogue } from './catalogue/catalogue.ts';
import type { ServiceSettings } from './service-settings.ts';

export type ServiceLog = {
  readonly info: (facts: object, message: string) => void;
  readonly warn: (facts: object, message: string) => void;
  readonly error: (facts: object, message: string) => void;
};

export type RecordParts = {
  readonly catalogue: OpenCatalogue;
  readonly clock: Clock;
  readonly random: (sizeBytes: number) => Buffer;
  readonly settings: ServiceSettings;
  readonly log: ServiceLog;
  /** On whose behalf, in activities: a principal's client id. Absent: the service's own. */
  readonly actor?: string;
};
