import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { backupXml, pushXml, readRunningBackup } from './backup-xml.ts';
import { checkpointXml } from './checkpoints.ts';
import { jobOf } from './jobs.ts';

const LAB = resolve(import.meta.dirname, '../../../test/lab/libvirt');

test('a backup names its disks, each full or counted from its own checkpoint', () => {
  const xml = backupXml({
    socketPath: '/run/a & b/nbd',
    disks: [
      { name: 'vda', scratchPath: '/s/vda.qcow2', base: 'cp1' },
      { name: 'vdb', scratchPath: '/s/vdb.qcow2', base: undefined },
    ],
  });
  assert.match(
    xml,
    /<disk name="vda"[^>]* backupmode="incremental" incremental="cp1"[^>]* exportbitmap="backup-vda">/,
  );
  assert.match(xml, /<disk name="vdb"[^>]* backupmode="full" exportname="vdb">/);
  assert.deepEqual(readRunningBackup(xml), {
    socketPath: '/run/a & b/nbd',
    scratchPaths: ['/s/vda.qcow2', '/s/vdb.qcow2'],
  });
});

test('a push names what each disk is copied into, and has no server', () => {
  const xml = pushXml([
    { name: 'vda', scratchPath: '/s/vda.qcow2', base: 'cp1' },
    { name: 'vdb', scratchPath: '/s/vdb.qcow2', base: undefined },
  ]);
  assert.match(xml, /<disk name="vda"[^>]* backupmode="incremental" incremental="cp1">/);
  assert.match(xml, /<disk name="vdb"[^>]* backupmode="full"><driver type="qcow2"\/><target /);
  assert.deepEqual(readRunningBackup(xml), {
    socketPath: undefined,
    scratchPaths: ['/s/vda.qcow2', '/s/vdb.qcow2'],
  });
});

test("the lab's backup is read as a running one", async () => {
  const running = readRunningBackup(await readFile(join(LAB, 'b2.xml'), 'utf8'));
  assert.equal(running.socketPath, '/run/lab/lv/bk.sock');
  assert.equal(running.scratchPaths.length, 2);
});

test('a checkpoint has bitmaps for its disks', () => {
  assert.equal(
    checkpointXml({ name: 'cp', disks: ['vda'] }),
    '<domaincheckpoint><name>cp</name><disks><disk name="vda" checkpoint="bitmap"/></disks></domaincheckpoint>',
  );
});

test('a job is told by its operation', () => {
  assert.equal(jobOf('Job type:         None\n'), undefined);
  assert.equal(
    jobOf('Job type:         Unbounded   \nOperation:        Outgoing migration\n'),
    'Outgoing migration',
  );
  assert.equal(jobOf('Job type:         Bounded'), 'Bounded');
});
