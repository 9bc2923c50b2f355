/** A real guest that runs, backed up and restored by the unmodified `az backup`; and a backup of it that is stopped. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { azLab, IN_VAULT } from './az-lab.ts';
import { assertCleanFileSystem } from './records.ts';
import { Serving } from './serving.ts';
import { startGuest } from './tiny-guest.ts';
import { assertNothingLeft } from './vm-site.ts';

const serving = new Serving();

/** A pre-script of the owner's that does not end by itself. */
const SLOW_SCRIPT = `
mkdir -p /etc/azure
cat >/etc/azure/pre.sh <<'EOS'
#!/bin/sh
echo pre-script runs >/dev/console
sleep 1500
EOS
printf '#!/bin/sh\\n' >/etc/azure/post.sh
chmod 700 /etc/azure/*.sh
cat >/etc/azure/VMSnapshotScriptPluginConfig.json <<'EOS'
{"pluginName":"ScriptRunner","preScriptLocation":"/etc/azure/pre.sh","postScriptLocation":"/etc/azure/post.sh","preScriptParams":[],"postScriptParams":[],"timeoutInSeconds":1800}
EOS
chmod 600 /etc/azure/VMSnapshotScriptPluginConfig.json`;

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

  await t.test(
    'a backup that waits for the guest is stopped by az, and leaves nothing',
    async () => {
      await guest.sh(SLOW_SCRIPT);
      const stuck = await az(`backup protection backup-now ${ofVm}`);
      assert.equal(stuck.properties.status, 'InProgress');
      // The agent is the service's meanwhile.
      while (!readFileSync(guest.consoleLog, 'utf8').includes('pre-script runs')) await sleep(100);
      const [listed] = await az(`backup job list ${IN_VAULT} --status InProgress`);
      assert.equal(listed.name, stuck.name);
      const stop = `backup job stop ${IN_VAULT} -n ${stuck.name}`;
      await az(stop);
      const { properties } = await lab.finished(stuck);
      assert.equal(properties.status, 'Cancelled', JSON.stringify(properties));
      await lab.refused(stop, 1, /\(UserErrorJobNotCancellable\)/);
      assert.equal((await az(`backup recoverypoint list ${ofVm} --workload-type VM`)).length, 1);
      await guest.sh(`rm -r /etc/azure; echo x >/data/probe && sync`);
      await assertNothingLeft(guest, point.name);
      const next = await lab.finished(await az(`backup protection backup-now ${ofVm}`));
      assert.match(next.properties.status, /^Completed/, JSON.stringify(next));
    },
  );
});
