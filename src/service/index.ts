/**
 * The control plane: vaults, policies, items, schedules, jobs. Knows no HTTP and touches no disk byte: `api`
 * translates what is said in Azure's words, `#backup` moves the data.
 */
export type {
  BackupPolicy,
  Retention,
  RetentionDays,
  RetentionRule,
  Schedule,
  TimeOfDay,
} from './policy/backup-policy.ts';
export { previewRuns, type PreviewedRun } from './schedule/runs.ts';
