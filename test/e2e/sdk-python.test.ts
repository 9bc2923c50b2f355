/** Azure's own SDK for Python, with its own pollers, against `holdfast serve`: the script is python-sdk.py. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { json } from '../cli/holdfast.ts';
import { Serving } from './serving.ts';

const serving = new Serving();
const SCRIPT = join(import.meta.dirname, 'python-sdk.py');
const DISKS = ['a', 'b'];

type Told = Readonly<Record<'configured' | 'item' | 'point' | 'restore' | 'files', string[]>> &
  Readonly<Record<'vault', string>> &
  Readonly<Record<'vaults' | 'protectable' | 'refused' | 'backup' | 'policies', unknown[]>>;

test('the SDK for Python makes a vault, protects, backs up and restores, and follows it by its pollers', async () => {
  const images = join(serving.folder, 'images', 'web');
  mkdirSync(images, { recursive: true });
  for (const name of DISKS) writeFileSync(join(images, `${name}.raw`), randomBytes(1 << 20));
  await serving.start();
  const variables = { HOLDFAST_DATA: serving.data };
  const connect = `images:${join(serving.folder, 'images')}`;
  await json(['host', 'add', 'lab', '--connect', connect], { variables });
  const account = ['sa1', '--group', 'lab', '--path', join(serving.folder, 'restored')];
  await json(['storage-account', 'add', ...account], { variables });
  const { url, subscriptionId, clientId, clientSecret, caFile } = serving.account;
  const args = [SCRIPT, url, subscriptionId, clientId];
  const stdout = execFileSync('/usr/bin/python3', args, {
    input: clientSecret,
    env: { ...process.env, REQUESTS_CA_BUNDLE: caFile },
  });
  const { files, ...told } = JSON.parse(stdout.toString()) as Told;
  assert.deepEqual(told, {
    vault: 'Succeeded',
    vaults: ['v1'],
    protectable: ['iaasvmcontainerv2;lab;web'],
    configured: ['ConfigureBackup', 'Completed'],
    backup: ['Backup', 'Completed', ['Take Snapshot', 'Transfer data to vault']],
    item: ['AzureIaaSComputeVMProtectedItem', 'Protected', 'Completed'],
    point: ['IaasVMRecoveryPoint', 'CrashConsistent'],
    restore: ['Succeeded', 'Completed'],
    policies: ['Succeeded', 'copy', ['DefaultPolicy']],
    refused: [
      'ServiceResourceNotEmptyWithBackendMessage',
      'BMSUserErrorPolicyNotFound',
      'BMSUserErrorRecoveryPointNotFound',
    ],
  });
  const restored = files.filter((path) => path.endsWith('.qcow2'));
  for (const [index, name] of DISKS.entries()) {
    const original = join(images, `${name}.raw`);
    execFileSync('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', original, restored[index]!]);
  }
});
