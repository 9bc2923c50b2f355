import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { giveToQemu, refuseImpassable, servedSockets } from './qemu-user.ts';

/** Nobody. */
const USER = { uid: 65_534, gid: 65_534 };
const skip = process.getuid?.() === 0 ? false : 'only root gives files away';
const REFUSAL = { code: 'ArgumentInvalid', instead: 'choose another' } as const;

test('the sockets of served points are told, whatever else the disks are', () => {
  const served = (socket: string): string =>
    `<disk><source file='/o.qcow2'/><backingStore type='network'><format type='raw'/><source protocol='nbd' name=''>
      <host transport='unix' socket='${socket}'/></source><backingStore/></backingStore></disk>`;
  const xml = `<domain><devices>${served('/a.nbd')}<disk><source file='/x'/><backingStore/></disk>${served('/b.nbd')}</devices></domain>`;
  assert.deepEqual(servedSockets(xml), ['/a.nbd', '/b.nbd']);
});

test(
  'a folder that QEMU’s user may not pass is named, one below it or not there yet too',
  { skip },
  async (t) => {
    const folder = await mkdtemp('/tmp/holdfast-user-');
    t.after(async () => await rm(folder, { recursive: true }));
    const below = join(folder, 'a/b');
    await mkdir(below, { recursive: true });
    const places = [folder, below, join(below, 'new/folder')];
    for (const place of places) {
      await assert.rejects(refuseImpassable(USER, place, REFUSAL), (error) => {
        assert.ok(isHoldfastError(error, 'ArgumentInvalid'), String(error));
        assert.ok(error.message.includes(`"${folder}": chmod o+x it, or choose another`));
        return true;
      });
    }
    await chmod(folder, 0o711);
    for (const place of places) await refuseImpassable(USER, place, REFUSAL);
  },
);

test(
  'what is made for a VM is given to its user; what is not there is left out',
  { skip },
  async (t) => {
    const folder = await mkdtemp('/tmp/holdfast-user-');
    t.after(async () => await rm(folder, { recursive: true }));
    const image = join(folder, 'image');
    await writeFile(image, '');
    await giveToQemu(USER, [image, join(folder, 'absent')]);
    const { uid, gid } = await stat(image);
    assert.deepEqual({ uid, gid }, USER);
  },
);
