/**
 * The tables of the catalogue, as Kysely knows them; `migrations.ts` makes them. Times (`…At`) are milliseconds
 * since 1970, `key` is the lower-case form of a name, and a JSON column says whose codec reads it.
 */
import type { Generated, Insertable, Selectable } from 'kysely';

/** Text that holds JSON. */
type JsonText = string;

export type Catalogue = {
  readonly resourceGroups: {
    key: string;
    name: string;
    location: string;
    tags: JsonText;
    createdAt: number;
  };

  readonly vaults: {
    /** A UUID; that of the repository's documents. */
    id: string;
    groupKey: string;
    key: string;
    name: string;
    location: string;
    tags: JsonText;
    /** A folder. */
    repository: string;
    /** Hex, 32 digits. */
    repositoryId: string;
    /** vaults/vault-settings.ts */
    settings: JsonText;
    /** When somebody fetched the recovery key; null: nobody has. */
    recoveryKeyFetchedAt: number | null;
    /** Grows with every change: the entity tag. */
    revision: number;
    createdAt: number;
  };

  /** Soft-deleted ones (R60): all else of them is in their repositories alone. */
  readonly deletedVaults: {
    id: string;
    /** Its resource group, which may be gone. */
    groupName: string;
    name: string;
    /** A folder. */
    repository: string;
    deletedAt: number;
    purgeAt: number;
  };

  /** What people were told by mail (notices/plan-notices.ts). */
  readonly notices: {
    /** Of an item or a soft-deleted vault. */
    id: string;
    vaultId: string;
    what: string;
    deletedAt: number;
    purgeAt: number;
    /** deleted, soon. */
    stage: string;
  };

  readonly policies: {
    id: string;
    vaultId: string;
    key: string;
    name: string;
    /** policy/policy-json.ts */
    body: JsonText;
    revision: number;
    createdAt: number;
    changedAt: number;
  };

  readonly consistencyGroups: {
    id: string;
    vaultId: string;
    key: string;
    name: string;
    /** Ids of items, in their order: consistency-groups/group-records.ts */
    members: JsonText;
    /** Whose schedule runs it; null: none. */
    policyId: string | null;
    /** The newest scheduled run that was started or given up. */
    lastRunAt: number | null;
    nextRunAt: number | null;
    revision: number;
    createdAt: number;
    changedAt: number;
  };

  readonly hosts: {
    /** Also the key of its resource group. */
    key: string;
    name: string;
    /** As `--connect` takes it. */
    uri: string;
    /** hosts/host-settings.ts: limits. */
    settings: JsonText;
    addedAt: number;
    /** When its VMs were last listed. */
    seenAt: number | null;
    /** Why they could not be, in one line; null: they were. */
    failure: string | null;
  };

  readonly vms: {
    hostKey: string;
    groupKey: string;
    key: string;
    name: string;
    /** A UUID of the VM's own where the hypervisor knows one, else ours. */
    vmId: string;
    /** hosts/vm-facts.ts: disks, state, cards, operating system. */
    facts: JsonText;
    seenAt: number;
    /** Since when it is not there any more; null: it is. */
    goneAt: number | null;
  };

  readonly storageAccounts: {
    groupKey: string;
    key: string;
    name: string;
    location: string;
    /** A folder. */
    path: string;
    /** storage-accounts/storage-account-settings.ts: limits. */
    settings: JsonText;
    createdAt: number;
  };

  readonly items: {
    id: string;
    vaultId: string;
    /** The VM's, which may be gone. */
    vmGroupKey: string;
    vmKey: string;
    /** As they were written last. */
    vmGroup: string;
    vmName: string;
    /** The item's name in the repository; never changes. */
    repositoryItem: string;
    policyId: string | null;
    /** The one that it had when its protection was stopped; it may be gone. Null: it has one, or none was noted. */
    lastPolicyId: string | null;
    /** items/item-states.ts */
    state: string;
    stateSince: number;
    /** items/disk-selection.ts; null: all disks. */
    diskSelection: JsonText | null;
    /** items/last-backup.ts; null: none ended yet. */
    lastBackup: JsonText | null;
    /** Soft-deleted until then; null: it is not. */
    purgeAt: number | null;
    deletedAt: number | null;
    /** The newest scheduled run that was started or given up (schedule/). */
    lastRunAt: number | null;
    nextRunAt: number | null;
    revision: number;
    createdAt: number;
  };

  readonly points: {
    /** Decimal digits: its name in Azure's API, too. */
    id: string;
    itemId: string;
    takenAt: number;
    /** AppConsistent, FileSystemConsistent, CrashConsistent. */
    consistency: string;
    /** points/point-origin.ts: scheduled, on-demand, safety. */
    origin: string;
    jobId: string | null;
    /** Of an on-demand one, the date that was asked for; other dates are computed (decision 0011). */
    expiresAt: number | null;
    /** retention/point-retention.ts; null: nothing is remembered. */
    retention: JsonText | null;
    /** points/point-facts.ts: disks, sizes, the VM's size and system. */
    facts: JsonText;
  };

  readonly jobs: {
    /** In the order of arrival: many come within a millisecond. */
    place: Generated<number>;
    id: string;
    vaultId: string;
    itemId: string | null;
    /** Shown; the VM's name. */
    entity: string;
    /** jobs/job-states.ts: Backup, Restore, ConfigureBackup, … */
    operation: string;
    status: string;
    isUserTriggered: number;
    /** What was asked for, by the operation's own codec. */
    request: JsonText;
    /** jobs/job-records.ts, as what follows. */
    tasks: JsonText;
    progress: JsonText | null;
    /** Name → value, for people: "Backup Size". */
    properties: JsonText;
    /** jobs/job-records.ts; of an open one: why it waits for its next try. */
    failure: JsonText | null;
    /** Lines for people; a job that ends well with some is CompletedWithWarnings. */
    warnings: JsonText;
    pointId: string | null;
    /** Jobs that share one run one after another: `item:<id>`; JSON array. */
    claims: JsonText;
    createdAt: number;
    startedAt: number | null;
    endedAt: number | null;
    /** Not before this instant (spread, retry). */
    notBefore: number;
    /** It fails with a timeout then; null: no limit. */
    deadlineAt: number | null;
    attempt: number;
    cancelRequestedAt: number | null;
    /** The instance that works at it. */
    leaseOwner: string | null;
    leaseUntil: number | null;
  };

  /** Accepted requests (202), which clients poll. */
  readonly operations: {
    id: string;
    vaultId: string | null;
    /** Kind of what it acts on, and how its result is told: operations/operation.ts. */
    kind: string;
    target: string;
    status: string;
    jobId: string | null;
    failure: JsonText | null;
    createdAt: number;
    endedAt: number | null;
  };

  readonly principals: {
    clientId: string;
    name: string;
    /** access/secret-hash.ts */
    secretHash: string;
    createdAt: number;
    disabledAt: number | null;
  };

  /** Which revision of a repository's document the catalogue holds. */
  readonly documents: {
    vaultId: string;
    document: string;
    revision: number;
  };

  /** What was there at the end of each day of a month: charges/charge-month.ts. The item may be gone. */
  readonly chargeMonths: {
    vaultId: string;
    itemId: string;
    /** `2026-11` */
    month: string;
    /** As they were last. */
    vmGroup: string;
    vmName: string;
    days: JsonText;
    points: JsonText;
  };

  /** What each point owned at the newest reading. */
  readonly chargedPoints: {
    vaultId: string;
    itemId: string;
    pointId: string;
    ownedBytes: number;
    /** Of the item's newest point: disk → bytes that are not zero. */
    usedBytes: JsonText | null;
  };

  readonly chargeReadings: {
    vaultId: string;
    /** The last day that was read: its number since 1970-01-01. */
    day: number;
    /** charges/measure-vault.ts: the repository's; null: not known since the catalogue was lost. */
    sizes: JsonText | null;
  };

  readonly priceSheets: {
    vaultId: string;
    /** Valid from it on. */
    month: string;
    /** charges/price-sheet.ts */
    sheet: JsonText;
  };

  /** Single facts: `schema` aside, `subscriptionId`, `tenantId`, `lastInstant` (clock jumps). */
  readonly facts: {
    name: string;
    value: string;
  };

  /** What users and the service did, newest last. */
  readonly activities: {
    id: Generated<number>;
    at: number;
    /** A principal's client id, or `service`. */
    actor: string;
    action: string;
    target: string;
    detail: JsonText;
  };
};

export type Row<Table extends keyof Catalogue> = Selectable<Catalogue[Table]>;
export type NewRow<Table extends keyof Catalogue> = Insertable<Catalogue[Table]>;
