/**
 * What VMs that the service boots from a point are plugged into: the network that was asked for, or nothing; on QEMU and
 * libvirt, beside the VM that has the point's own cards.
 */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { fail, succeed, withoutPasswords } from '../cli/holdfast.ts';
import {
  defineXml,
  domainXml,
  libvirt,
  libvirtFolder,
  removeDomain,
  systemDisk,
  tool,
  URI,
  virsh,
} from './libvirt-guest.ts';
import { servingJobs, type Job } from './serving-jobs.ts';
import { Serving } from './serving.ts';
import { guestFolder, startGuest, tinyGuestFolder } from './tiny-guest.ts';

withoutPasswords();

const MAC = '52:54:00:0b:0b:01';

const serving = new Serving();
const { variables, holdfast, until } = servingJobs(serving);

/** A trial of the VM, while it runs; it is discarded then. */
async function tried(
  vm: string,
  {
    as,
    store,
    network,
  }: { readonly as: string; readonly store: string; readonly network?: string },
  look: (job: Job) => Promise<void>,
): Promise<void> {
  const plugged = network === undefined ? [] : ['--network', network];
  const to = ['--as', as, '--storage-account', store, ...plugged];
  const begun = await holdfast<Job>('boot', vm, '--trial', '--no-wait', ...to);
  await look(await until(begun.id, ({ properties }) => properties['State'] === 'Booted'));
  const ended = await holdfast<Job>('jobs', 'stop', begun.id);
  assert.deepEqual([ended.status, ended.properties['Remains']], ['Cancelled', undefined]);
}

/** The command line of the QEMU whose process names the folder. */
function commandLineIn(folder: string): readonly string[] {
  const found = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')];
      } catch {
        return []; // It has ended.
      }
    })
    .filter(
      ([program, ...words]) =>
        program?.includes('qemu-system') === true && words.join(' ').includes(folder),
    );
  assert.equal(found.length, 1, folder);
  return found[0]!;
}

function following(words: readonly string[], flag: string): readonly string[] {
  return words.filter((_, at) => words[at - 1] === flag);
}

test('on QEMU: a card is plugged into what was asked for, under a new address, or into nothing', async (t) => {
  const runDir = await guestFolder(t);
  const disk = join(runDir, 'disk.qcow2');
  await copyFile(join(await tinyGuestFolder(), 'disk.qcow2'), disk);
  const args = ['-netdev', 'user,id=n0', '-device', `virtio-net-pci,netdev=n0,mac=${MAC}`];
  const guest = await startGuest(t, { disks: [disk], runDir, paused: true, args });
  const vm = basename(runDir);
  await serving.start();
  for (const args of [
    ['host', 'add', 'live', '--connect', `qmp:${guest.qmpPath}`],
    ['vault', 'create', 'v1', '--group', 'live'],
    ['storage-account', 'add', 'store', '--path', join(runDir, 'restored'), '--group', 'live'],
    ['protect', vm],
    ['backup', vm],
  ]) {
    await succeed(args, { variables });
  }
  const cardOf = (words: readonly string[]): string =>
    following(words, '-device').find((device) => device.startsWith('virtio-net-pci'))!;

  await tried(vm, { as: 'unplugged', store: 'store' }, async ({ properties }) => {
    const words = commandLineIn(properties['Target Folder']!);
    assert.deepEqual(following(words, '-netdev'), []);
    assert.doesNotMatch(cardOf(words), /netdev=/);
    assert.ok(!words.join(' ').includes(MAC));
    // The VM that runs on, and its socket, are for others.
    await guest.qmp('query-status');
  });
  await tried(vm, { as: 'plugged', store: 'store', network: 'user' }, async ({ properties }) => {
    const words = commandLineIn(properties['Target Folder']!);
    const [network, ...others] = following(words, '-netdev');
    assert.deepEqual(others, []);
    const [, id] = /^user,id=(\S+)$/.exec(network!) ?? [];
    assert.ok(cardOf(words).includes(`netdev=${id}`), cardOf(words));
    assert.ok(!words.join(' ').includes(MAC));
  });
  await fail(
    ['boot', vm, '--as', 'nowhere', '--network', 'nosuchbridge', '--trial'],
    { code: 1, says: /no bridge "nosuchbridge"/ },
    { variables },
  );
  assert.deepEqual(readdirSync(join(runDir, 'restored')), []);
  await serving.stop();
});

test('on libvirt: a card is in the network that was asked for, under a new address; without one there is no card', async (t) => {
  await libvirt();
  const folder = await libvirtFolder(t);
  const vm = `test-${folder.slice(-6)}`;
  const networks = ['old', 'new'].map((name) => `${name}-${folder.slice(-6)}`);
  t.after(async () => {
    for (const name of networks) {
      await virsh('net-destroy', name).catch(() => ''); // It may not have been started.
      await virsh('net-undefine', name);
    }
  });
  for (const [at, name] of networks.entries()) {
    const xml = `<network><name>${name}</name><bridge name='hf${at}${folder.slice(-6)}' stp='off'/></network>`;
    await writeFile(join(folder, `${name}.xml`), xml);
    await virsh('net-define', join(folder, `${name}.xml`));
    await virsh('net-start', name);
  }
  const [old, other] = networks;
  const devices = `<interface type='network'><mac address='${MAC}'/><source network='${old}'/><model type='virtio'/></interface>`;
  t.after(async () => await removeDomain(vm));
  await defineXml(
    folder,
    await domainXml(vm, { folder, disks: [await systemDisk(folder)], devices }),
  );
  await serving.start();
  for (const args of [
    ['host', 'add', 'lv', '--connect', URI],
    ['vault', 'create', 'v2', '--group', 'lv'],
    ['storage-account', 'add', 'lvstore', '--path', join(folder, 'restored'), '--group', 'lv'],
    ['protect', vm, '--vault', 'v2'],
    ['backup', vm, '--vault', 'v2'],
  ]) {
    await succeed(args, { variables });
  }
  const name = `${vm}-tried`;
  t.after(async () => await removeDomain(name));
  const interfaceOf = async (): Promise<string> => {
    const [card, ...others] = (await virsh('dumpxml', name)).match(
      /<interface .*?<\/interface>/gs,
    )!;
    assert.deepEqual(others, []);
    assert.ok(!card!.includes(MAC), card);
    return card!;
  };
  await tried(vm, { as: name, store: 'lvstore', network: other! }, async () => {
    assert.match(await interfaceOf(), new RegExp(`<source network='${other}'`));
    const [, tap] = /<target dev='(\S+)'/.exec(await interfaceOf())!;
    const bridge = `hf1${folder.slice(-6)}`;
    assert.match(await tool('ip', 'link', 'show', 'dev', tap!), new RegExp(`master ${bridge} `));
  });
  await tried(vm, { as: name, store: 'lvstore' }, async () => {
    assert.ok(!(await virsh('dumpxml', name)).includes('<interface '));
  });
  await virsh('net-destroy', other!);
  await fail(
    ['boot', vm, '--as', name, '--storage-account', 'lvstore', '--network', other!, '--trial'],
    { code: 1, says: new RegExp(`network "${other}" is not active`) },
    { variables },
  );
});
