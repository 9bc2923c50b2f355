import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jobFacts } from './job-facts.ts';
import { describeJob } from './jobs.ts';

test('a job that waits for a busy guest says so in jobs show', () => {
  const phase = 'waiting, for 140 min at most, until the guest is less busy: db: 97 % of its CPU';
  const job = jobFacts({
    id: '/subscriptions/s/resourceGroups/lab/providers/Microsoft.RecoveryServices/vaults/v1/backupJobs/j',
    name: 'j',
    properties: {
      jobType: 'AzureIaaSVMJob',
      operation: 'Backup',
      entityFriendlyName: 'db',
      status: 'InProgress',
      extendedInfo: { propertyBag: { 'VM Name': 'db', Phase: phase, 'Bytes done': '0' } },
    },
  });
  const lines = describeJob(job).split('\n');
  assert.ok(lines.some((line) => line.startsWith('Phase:') && line.endsWith(phase)));
  assert.ok(!lines.some((line) => line.startsWith('Bytes')));
});
