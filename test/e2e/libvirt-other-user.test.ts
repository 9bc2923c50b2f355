/**
 * libvirt as Debian ships it, whose QEMU is another user than Holdfast: a guest that boots by its UEFI variables
 * alone is backed up, lost, restored, and booted from its point. All through the commands of a user.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ended, fail, start, succeed, withoutPasswords } from '../cli/holdfast.ts';
import { startDebianLibvirtd, type DebianLibvirtd } from './debian-libvirtd.ts';
import { domainXml } from './libvirt-guest.ts';
import { makeUefiDisk, UEFI_CODE } from './uefi-disk.ts';
import type { Taken } from './vm-site.ts';

withoutPasswords();

const QEMU_UID = Number(execFileSync('id', ['-u', 'libvirt-qemu'], { encoding: 'utf8' }));

async function agentAnswers({ virsh }: DebianLibvirtd, name: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    const answers = await virsh('qemu-agent-command', name, '{"execute":"guest-ping"}').then(
      () => true,
      () => false,
    );
    if (answers) return;
    assert.ok(tries < 600, `${name} does not boot`);
    await sleep(200);
  }
}

test('a UEFI guest of a QEMU that is another user is backed up, lost, restored and booted', async (t) => {
  const libvirtd = await startDebianLibvirtd(t);
  const { folder, virsh, uri } = libvirtd;
  const images = join(folder, 'images');
  await mkdir(images);
  const { disk, variables } = await makeUefiDisk(images);
  const xml = await domainXml('web', {
    folder: images,
    disks: [{ path: disk, format: 'qcow2' }],
  });
  const firmware = `<loader readonly='yes' type='pflash'>${UEFI_CODE}</loader><nvram>${variables}</nvram>`;
  await writeFile(
    join(folder, 'web.xml'),
    xml.replace(/<kernel>[^]*<\/cmdline>/, firmware).replace("'MiB'>256<", "'MiB'>512<"),
  );
  await virsh('define', join(folder, 'web.xml'));
  await virsh('start', 'web');
  await agentAnswers(libvirtd, 'web');
  assert.equal((await stat(disk)).uid, QEMU_UID, 'libvirt has given it to QEMU');

  const repository = join(folder, 'repository');
  await succeed(['repo', 'init', repository, '--no-encryption']);
  const to = ['web', '--repo', repository, '--no-encryption', '--connect', uri];
  const backUp = async (...more: readonly string[]): Promise<Taken> => {
    const { stdout } = await succeed(['vm', 'backup', ...to, '--json', ...more]);
    return JSON.parse(stdout) as Taken;
  };

  await t.test('a scratch folder that QEMU may not pass is refused, and says which', async () => {
    const closed = join(folder, 'closed');
    await mkdir(join(closed, 'scratch'), { recursive: true, mode: 0o700 });
    const scratch = ['--scratch', join(closed, 'scratch')];
    await fail(['vm', 'backup', ...to, ...scratch], {
      code: 1,
      says: /QEMU runs as libvirt-qemu here and may not pass through ".*\/closed": chmod o\+x it/,
    });
  });

  assert.equal((await backUp()).consistency, 'FileSystemConsistent');
  assert.equal((await backUp()).disks[0]!.tracking, 'bitmap');
  await virsh('destroy', 'web');
  await virsh('undefine', 'web', '--checkpoints-metadata', '--nvram');
  await rm(images, { recursive: true });
  const parent = join(folder, 'restored');
  await mkdir(parent);

  await t.test('restored under a narrow umask, it boots by its own variables', async () => {
    const directory = join(parent, 'a');
    const before = process.umask(0o077);
    await succeed(['vm', 'restore', ...to, '--as', 'a', '--dir', directory, '--start']);
    process.umask(before);
    await agentAnswers(libvirtd, 'a');
    const made = (await readdir(directory)).filter((name) => /\.(qcow2|fd)$/.test(name));
    assert.equal(made.length, 2);
    for (const name of made) assert.equal((await stat(join(directory, name))).uid, QEMU_UID);
    await virsh('destroy', 'a');
  });

  await t.test('booted from its point, it runs on its own disk after the move', async () => {
    const directory = join(parent, 'b');
    const child = start(['vm', 'boot', ...to, '--as', 'b', '--dir', directory]);
    child.stdin.end();
    const { code, stderr } = await ended(child);
    assert.equal(code, 0, stderr);
    await agentAnswers(libvirtd, 'b');
  });
});
