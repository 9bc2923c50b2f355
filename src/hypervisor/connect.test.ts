import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError, realClock } from '#base';
import { connectHypervisor } from './connect.ts';

const options = { clock: realClock(), random: (size: number): Buffer => randomBytes(size) };

test('what names no hypervisor is refused with the forms that there are', async () => {
  for (const uri of ['', 'web', '/srv/images', 'images:srv', 'xen:///', 'qemu+ssh://host/system']) {
    await assert.rejects(
      connectHypervisor(uri, options),
      (error) =>
        isHoldfastError(error, 'ArgumentInvalid') && /qemu:\/\/\/system/.test(error.message),
      uri,
    );
  }
  await assert.rejects(connectHypervisor('qemu+ssh://host/system', options), /another machine/);
});

test('a folder of images is a hypervisor, and one that is not there is said so', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-connect-'));
  try {
    const hypervisor = await connectHypervisor(`images:${folder}`, options);
    assert.equal(hypervisor.kind, 'images');
    assert.deepEqual(await hypervisor.list(), []);
    await hypervisor.close();
  } finally {
    await rm(folder, { recursive: true });
  }
  await assert.rejects(connectHypervisor(`images:${folder}`, options), (error) =>
    isHoldfastError(error, 'HypervisorUnavailable'),
  );
});

test('a socket that nobody listens on is said so', async () => {
  await assert.rejects(connectHypervisor('qmp:/nowhere/qmp.sock', options), (error) =>
    isHoldfastError(error, 'HypervisorUnavailable'),
  );
});
