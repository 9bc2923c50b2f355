/** A domain that stands still for a moment runs on whatever happens in it, and one that its owner paused stays so. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { realClock } from '#base';
import { whileStandingStill } from '../../src/hypervisor/libvirt/stand-still.ts';
import { virshOf } from '../../src/hypervisor/libvirt/virsh.ts';
import { libvirtFolder, startLibvirtGuest, systemDisk, tool, URI, virsh } from './libvirt-guest.ts';
import { isRefused } from './libvirt-points.ts';

await test('standing still: it runs on after the work, a failure, a kill of Holdfast, and work without end', async (t) => {
  const folder = await libvirtFolder(t);
  const guest = await startLibvirtGuest(t, { folder, disks: [await systemDisk(folder)] });
  const { name } = guest;
  const uuid = (await virsh('domuuid', name)).trim();
  const ours = virshOf(URI, realClock());
  t.after(() => ours.close());
  const domain = { virsh: ours, uuid, vmName: name };
  const state = async (): Promise<string> => (await virsh('domstate', name)).trim();
  const until = async (wanted: string): Promise<void> => {
    while ((await state()) !== wanted) await sleep(50);
  };
  const watchdogs = async (): Promise<string[]> =>
    (await tool('ps', '-eo', 'args'))
      .split('\n')
      .filter((line) => line.includes('holdfast-watchdog') && line.includes(uuid));

  await t.test('after the work, and after a failure', async () => {
    assert.equal(await whileStandingStill(domain, state), 'paused');
    assert.equal(await state(), 'running');
    const failing = whileStandingStill(domain, async () => await Promise.reject(new Error('no')));
    await assert.rejects(failing, /^Error: no$/);
    assert.equal(await state(), 'running');
    assert.deepEqual(await watchdogs(), []);
  });

  await t.test('Holdfast killed in it, at once', async () => {
    const child = spawn(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        join(import.meta.dirname, 'standing-still-child.ts'),
        uuid,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await once(child.stdout, 'data');
    assert.equal(await state(), 'paused');
    assert.equal((await watchdogs()).length > 0, true);
    child.kill('SIGKILL');
    await until('running');
    assert.equal((await guest.sh('echo alive')).trim(), 'alive');
    while ((await watchdogs()).length > 0) await sleep(50);
  });

  await t.test(
    'work that takes too long, or somebody who resumes it: its result is not used',
    async () => {
      const slow = whileStandingStill(domain, async () => {
        await until('running');
      });
      await isRefused(slow, 'HypervisorFailed', /not of one instant/);
      const resumed = whileStandingStill(domain, async () => await virsh('resume', name));
      await isRefused(resumed, 'HypervisorFailed', /was resumed by somebody/);
      assert.equal(await state(), 'running');
      while ((await watchdogs()).length > 0) await sleep(50);
    },
  );

  await t.test('one that its owner had paused stays paused', async () => {
    await virsh('suspend', name);
    assert.equal(await whileStandingStill(domain, state), 'paused');
    assert.equal(await state(), 'paused');
    assert.deepEqual(await watchdogs(), []);
    await virsh('resume', name);
  });

  await t.test('a VM that is destroyed in it', async () => {
    const destroyed = whileStandingStill(domain, async () => await virsh('destroy', name));
    await isRefused(destroyed, 'HypervisorFailed', /./);
    assert.equal(await state(), 'shut off');
    while ((await watchdogs()).length > 0) await sleep(50);
  });
});
