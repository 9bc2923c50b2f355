/** A real guest that runs, backed up and restored by the unmodified `az backup`. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { azLab, IN_VAULT } from './az-lab.ts';
import { assertCleanFileSystem } from './records.ts';
import { Serving } from './serving.ts';
import { startGuest } from './tiny-guest.ts';
import { assertNothingLeft } from './vm-site.ts';

const serving = new Serving();

test('az backs a running guest up, file-system-consistent, leaves nothing in it, and restores it clean', async (t) => {
  const guest = await startGuest(t);
  const vm = basename(guest.runDir);
  const live = `qmp:${guest.qmpPath},agent=${guest.agentPath}`;
  const lab = await azLab(serving, { live });
  const { az } = lab;
  const id = `${lab.subscription}/resourceGroups/live/providers/Microsoft.Compute/virtualMachines/${vm}`;
  await az(`backup protection enable-for-vm ${IN_VAULT} --vm ${id} -p DefaultPolicy`);
  await guest.sh('head -c 3000000 /dev/urandom >/data/kept; sync');
  const sum = (await guest.sh('sha256sum </data/kept')).split(' ')[0]!;
  const item = `${IN_VAULT} -c ${vm} -i ${vm}`;
  const ofVm = `${item} --backup-management-type AzureIaasVM`;
  const job = await lab.finished(await az(`backup protection backup-now ${ofVm}`));
  assert.match(job.properties.status, /^Completed/, JSON.stringify(job));
  const [point] = await az(`backup recoverypoint list ${ofVm} --workload-type VM`);
  assert.equal(point.properties.recoveryPointType, 'FileSystemConsistent');
  await assertNothingLeft(guest, point.name);

  const to = `-r ${point.name} --storage-account sa1 --restore-only-osdisk true`;
  const [image] = await lab.imagesOf(await az(`backup restore restore-disks ${item} ${to}`));
  const raw = join(lab.folder, 'restored.raw');
  execFileSync('qemu-img', ['convert', '-O', 'raw', image!, raw]);
  await assertCleanFileSystem(raw);
  const kept = join(lab.folder, 'kept');
  const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
  execFileSync('debugfs', ['-R', `dump /kept ${kept}`, raw], { stdio: 'pipe', env });
  assert.equal(execFileSync('sha256sum', [kept]).toString().split(' ')[0], sum);
});
