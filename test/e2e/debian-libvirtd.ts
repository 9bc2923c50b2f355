/**
 * A libvirtd of a test's own, configured as Debian ships it: QEMU runs as `libvirt-qemu`, and libvirt gives it the
 * files that the XML names. It sees folders of its own in place of libvirt's, so that it meets no other libvirtd.
 * Needs root. Two things are otherwise, as there is no systemd: no cgroups, no namespaces around QEMU.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { tool } from './libvirt-guest.ts';

export type DebianLibvirtd = {
  readonly uri: string;
  /** QEMU may pass it. It goes with the test. */
  readonly folder: string;
  readonly virsh: (...args: readonly string[]) => Promise<string>;
};

const CONFIGURATION = ['stdio_handler = "file"', 'cgroup_controllers = []', 'namespaces = []', ''];

/** `$1`: the folder. A /dev/kvm that does not work is asked for minutes at every definition: it is hidden. */
const START = `set -e
for place in run:/run/libvirt lib:/var/lib/libvirt etc:/etc/libvirt cache:/var/cache/libvirt log:/var/log/libvirt; do
  mkdir -p "\${place#*:}"
  mount --bind "$1/\${place%%:*}" "\${place#*:}"
done
if [ -e /dev/kvm ]; then mount --bind "$1/no-kvm" /dev/kvm; fi
exec libvirtd`;

export async function startDebianLibvirtd(t: TestContext): Promise<DebianLibvirtd> {
  const folder = await mkdtemp('/tmp/holdfast-ld-');
  await chmod(folder, 0o755);
  for (const name of ['run', 'lib', 'etc', 'cache', 'log']) await mkdir(join(folder, name));
  await writeFile(join(folder, 'etc/qemu.conf'), CONFIGURATION.join('\n'));
  await writeFile(join(folder, 'no-kvm'), '', { mode: 0o600 });
  const uri = `qemu+unix:///system?socket=${folder}/run/libvirt-sock`;
  const virsh = async (...args: readonly string[]): Promise<string> =>
    await tool('virsh', '-q', '-c', uri, ...args);
  const daemon = spawn(
    'unshare',
    ['--mount', '--propagation', 'private', 'sh', '-c', START, 'sh', folder],
    { stdio: 'ignore', env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` } },
  );
  const ended = new Promise((resolve) => daemon.once('close', resolve));
  t.after(async () => {
    for (const uuid of (await virsh('list', '--uuid')).split('\n')) {
      if (uuid !== '') await virsh('destroy', uuid);
    }
    daemon.kill('SIGTERM');
    await ended;
    await rm(folder, { recursive: true });
  });
  for (let tries = 0; ; tries += 1) {
    const answers = await virsh('list').then(
      () => true,
      () => false,
    );
    if (answers) return { uri, folder, virsh };
    assert.ok(tries < 300 && daemon.exitCode === null, 'libvirtd does not start');
    await sleep(100);
  }
}
