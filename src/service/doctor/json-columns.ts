/** The columns of the catalogue that hold JSON, each with the codec that reads it: whether every row can be read. */
import { sql } from 'kysely';
import { z } from 'zod';
import type { Catalogue } from '../catalogue/schema.ts';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { backupRequestOf, groupBackupOf } from '../backing-up/backup-request.ts';
import { CHARGE_DAYS, CHARGE_RUNS } from '../charges/charge-month.ts';
import { PRICE_SHEET } from '../charges/price-sheet.ts';
import { hostSettingsFromJson } from '../hosts/hosts.ts';
import { factsFromJson } from '../hosts/vm-facts.ts';
import { diskSelectionFromJson } from '../items/disk-selection.ts';
import { lastBackupFromJson } from '../items/last-backup.ts';
import {
  claimsFromJson,
  failureFromJson,
  progressFromJson,
  propertiesFromJson,
  tasksFromJson,
  warningsFromJson,
} from '../jobs/job-records.ts';
import { operationFailureFromJson } from '../operations/operations.ts';
import { pointFactsFromJson } from '../points/point-facts.ts';
import { policyFromJson } from '../policy/policy-json.ts';
import { restoreRequestFromJson } from '../restoring/restore-request.ts';
import { retentionFromJson } from '../retention/point-retention.ts';
import { accountSettingsFromJson } from '../storage-accounts/storage-accounts.ts';
import { parseTags } from '../tags.ts';
import { vaultSettingsFromJson } from '../vaults/vault-settings.ts';

/** As SQLite has it. */
type AnyRow = Readonly<Record<string, string | number | null>>;
type Codec = (json: string, row: AnyRow) => unknown;

const plain: Codec = (json) => JSON.parse(json);

/** Those of jobs that are run again after a restart; the rest is history. */
const requestOfJob: Codec = (request, { operation }) => {
  if (operation === 'Backup') return backupRequestOf({ request });
  if (operation === 'GroupBackup') return groupBackupOf({ request });
  if (operation === 'Restore') return restoreRequestFromJson(request);
  return JSON.parse(request);
};

export const JSON_COLUMNS: {
  readonly [Table in keyof Catalogue]?: {
    readonly [Column in keyof Catalogue[Table]]?: Codec;
  };
} = {
  resourceGroups: { tags: parseTags },
  vaults: { tags: parseTags, settings: (json) => vaultSettingsFromJson(JSON.parse(json)) },
  policies: { body: policyFromJson },
  consistencyGroups: { members: (json) => z.array(z.string()).parse(JSON.parse(json)) },
  hosts: { settings: hostSettingsFromJson },
  vms: { facts: factsFromJson },
  storageAccounts: { settings: accountSettingsFromJson },
  items: { diskSelection: diskSelectionFromJson, lastBackup: lastBackupFromJson },
  points: { retention: retentionFromJson, facts: pointFactsFromJson },
  jobs: {
    request: requestOfJob,
    tasks: tasksFromJson,
    progress: progressFromJson,
    properties: propertiesFromJson,
    failure: failureFromJson,
    warnings: warningsFromJson,
    claims: claimsFromJson,
  },
  operations: { failure: operationFailureFromJson },
  chargeMonths: {
    days: (json) => CHARGE_DAYS.parse(JSON.parse(json)),
    points: (json) => CHARGE_RUNS.parse(JSON.parse(json)),
  },
  chargedPoints: { usedBytes: plain },
  chargeReadings: { sizes: plain },
  priceSheets: { sheet: (json) => PRICE_SHEET.parse(JSON.parse(json)) },
  activities: { detail: plain },
};

export type UnreadableRow = {
  readonly table: keyof Catalogue;
  readonly column: string;
  readonly row: AnyRow;
  /** In one line. */
  readonly reason: string;
};

/** One for a row, its first column that cannot be read. */
export async function unreadableRows(reader: CatalogueReader): Promise<readonly UnreadableRow[]> {
  const found: UnreadableRow[] = [];
  for (const [name, columns] of Object.entries(JSON_COLUMNS)) {
    const table = name as keyof Catalogue;
    const codecs = Object.entries(columns as Readonly<Record<string, Codec>>);
    const { rows } = await sql<AnyRow>`select * from ${sql.table(table)}`.execute(reader);
    for (const row of rows) {
      for (const [column, codec] of codecs) {
        const reason = whyNot(codec, row, column);
        if (reason === undefined) continue;
        found.push({ table, column, row, reason });
        break;
      }
    }
  }
  return found;
}

function whyNot(codec: Codec, row: AnyRow, column: string): string | undefined {
  const json = row[column];
  if (json === undefined || json === null) return undefined;
  try {
    codec(String(json), row);
    return undefined;
  } catch (error) {
    return (error instanceof Error ? error.message : String(error)).replaceAll(/\s+/g, ' ');
  }
}
