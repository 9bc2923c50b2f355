import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FakeClock, isHoldfastError, realClock } from '#base';
import { connectHypervisor } from './connect.ts';

const options = { clock: realClock(), random: randomBytes };

async function refusal(uri: string): Promise<{ readonly code: string; readonly message: string }> {
  try {
    await (await connectHypervisor(uri, options)).close();
  } catch (error) {
    if (isHoldfastError(error)) return error;
    throw error;
  }
  return assert.fail(`${uri} was accepted`);
}

test('what names no hypervisor is refused in one line with the forms that there are', async () => {
  const none = ['', 'web', '/srv/images', 'images:', 'images:srv', 'xen:///', 'qemu', 'QMP:/x'];
  for (const uri of none) {
    const { code, message } = await refusal(uri);
    assert.equal(code, 'ArgumentInvalid', uri);
    assert.match(message, /use qemu:\/\/\/system.*qmp:\/path.*images:\/folder/, uri);
    assert.ok(!message.includes('\n'));
  }
});

test('a malformed address of a kind that is known is refused too', async () => {
  for (const uri of ['qmp:', 'qmp:relative.sock', 'qmp:/a,b=/c', 'qemu:///embed']) {
    assert.equal((await refusal(uri)).code, 'ArgumentInvalid', uri);
  }
});

test('hypervisors of other machines are not supported yet', async () => {
  for (const uri of ['qemu+ssh://root@host/system', 'qemu://host/system', 'tcp://host']) {
    const { code, message } = await refusal(uri);
    assert.equal(code, 'ArgumentInvalid', uri);
    assert.match(message, /not supported yet/, uri);
  }
});

test('an address whose hypervisor is not there says so', async () => {
  const { code, message } = await refusal('images:/nonexistent');
  assert.equal(code, 'HypervisorUnavailable');
  assert.match(message, /nonexistent/);
});

test('connecting to a socket that another program has is given up when it is cancelled', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-connect-'));
  t.after(async () => await rm(folder, { recursive: true }));
  const server = createServer();
  const connected = once(server, 'connection') as Promise<[Socket]>;
  const path = join(folder, 'q.sock');
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  const cancel = new AbortController();
  const connecting = connectHypervisor(`qmp:${path}`, {
    clock: new FakeClock(),
    random: randomBytes,
    signal: cancel.signal,
  });
  const [socket] = await connected;
  cancel.abort();
  await assert.rejects(connecting, { code: 'Cancelled' });
  socket.destroy();
});

test('where no QEMU listens there is no VM yet, and none to back up', async () => {
  const hypervisor = await connectHypervisor('qmp:/nonexistent/qmp.sock', options);
  assert.deepEqual(await hypervisor.list(), []);
  const refused = { code: 'HypervisorUnavailable', message: /nonexistent/ };
  await assert.rejects(hypervisor.find('web'), refused);
  await assert.rejects(hypervisor.agent('web'), refused);
  await hypervisor.close();
});

test('a folder of images is connected to; what is cancelled is not', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast images-'));
  t.after(async () => await rm(folder, { recursive: true }));
  const hypervisor = await connectHypervisor(`images:${folder}/`, options);
  assert.deepEqual([hypervisor.kind, hypervisor.uri], ['images', `images:${folder}`]);
  assert.deepEqual(await hypervisor.list(), []);
  await hypervisor.close();
  const signal = AbortSignal.abort();
  await assert.rejects(connectHypervisor(`images:${folder}`, { ...options, signal }), (error) =>
    isHoldfastError(error, 'Cancelled'),
  );
});
