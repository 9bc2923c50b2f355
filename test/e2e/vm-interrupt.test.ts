/**
 * Ctrl-C while a VM is backed up: the command ends with 130 and one clear line, the guest is thawed and writes on,
 * nothing of the backup stays in QEMU, and the next one is right.
 */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ended, start, withoutPasswords } from '../cli/holdfast.ts';
import { emptyDisk, libvirtFolder, systemDisk, tool } from './libvirt-guest.ts';
import { assertNothingLeft, Site } from './vm-site.ts';

withoutPasswords();

const CONFIGURATION = '/etc/azure/VMSnapshotScriptPluginConfig.json';

test('Ctrl-C in each phase of a live backup', async (t) => {
  const images = await libvirtFolder(t);
  const data = await emptyDisk(images, { name: 'data', format: 'qcow2', size: '512M' });
  const raw = join(images, 'noise.raw');
  await tool('dd', 'if=/dev/urandom', `of=${raw}`, 'bs=1M', 'count=512', 'status=none');
  await tool('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'qcow2', raw, data.path);
  const site = await Site.make(t, [(await systemDisk(images)).path, data.path]);
  const { guest } = site;
  const connection = [
    ...site.connection,
    '--repo',
    site.repository,
    '--item',
    'guest',
    '--scratch',
    images,
  ];
  const command = ['vm', 'backup', await site.name(), ...connection, '--no-encryption'];

  /** Interrupts a backup of all disks when `isThere` says so. */
  const interrupted = async (isThere: () => Promise<boolean>): Promise<string> => {
    const child = start(command);
    let said = '';
    child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString('utf8')));
    const end = ended(child);
    while (!(await isThere())) {
      assert.equal(child.exitCode, null, `it ended before: ${said}`);
      await sleep(20);
    }
    child.kill('SIGINT');
    const { code, stdout, stderr } = await end;
    assert.equal(code, 130, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /^holdfast: cancelled: the VM runs on, and [^\n]* \[Cancelled\]\n$/m);
    await guest.sh('echo thawed >/data/thawed && sync');
    const { pointId } = await site.backUp();
    await assertNothingLeft(guest, pointId);
    return stderr;
  };
  const onConsole = async (text: string): Promise<boolean> =>
    (await readFile(guest.consoleLog, 'utf8')).includes(text);

  await t.test('when QEMU serves its disks, or is about to', async () => {
    await interrupted(async () => await isServed(images));
  });

  await t.test('in a freeze that takes long', async () => {
    const hook = '/etc/qemu/fsfreeze-hook.d/50-slow';
    const body =
      '#!/bin/sh\\n[ "$1" = freeze ] || exit 0\\necho freezing-slowly >/dev/console\\nsleep 3\\n';
    await guest.sh(`printf '${body}' >${hook} && chmod 755 ${hook}`);
    await interrupted(async () => await onConsole('freezing-slowly'));
    await guest.sh(`rm ${hook}`);
  });

  await t.test('in a pre-script', async () => {
    const configuration = {
      pluginName: 'ScriptRunner',
      preScriptLocation: '/etc/azure/pre.sh',
      postScriptLocation: '/etc/azure/post.sh',
    };
    await guest.sh(
      `mkdir -p /etc/azure && printf '#!/bin/sh\\necho script-begun >/dev/console\\nsleep 20\\n' >/etc/azure/pre.sh && ` +
        `printf '#!/bin/sh\\nrm -f ${CONFIGURATION}\\n' >/etc/azure/post.sh && chmod 700 /etc/azure/p*.sh && ` +
        `echo '${JSON.stringify(configuration)}' >${CONFIGURATION} && chmod 600 ${CONFIGURATION}`,
    );
    const stderr = await interrupted(async () => await onConsole('script-begun'));
    assert.match(stderr, /What was done in the guest:/);
    assert.equal((await guest.sh(`ls ${CONFIGURATION} 2>&1; true`)).includes('No such'), true);
  });
});

/** Whether QEMU serves the snapshot of a backup with this scratch folder. */
async function isServed(scratch: string): Promise<boolean> {
  return (await readdir(scratch, { recursive: true })).some((path) => path.endsWith('nbd.sock'));
}
