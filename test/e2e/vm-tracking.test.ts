/** What `holdfast vm show` tells of a VM, and what `vm untrack` takes away again: under QEMU, libvirt, in images. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { fail, json, run, succeed, withoutPasswords } from '../cli/holdfast.ts';
import {
  defineXml,
  domainXml,
  emptyDisk,
  libvirtFolder,
  startLibvirtGuest,
  systemDisk,
  untilOff,
  virsh,
} from './libvirt-guest.ts';
import { Site, type Taken } from './vm-site.ts';

withoutPasswords();

type Mark = {
  readonly repositoryId: string;
  readonly disk: string;
  readonly point: string;
  readonly name: string;
  readonly usable: boolean;
  readonly reason?: string;
};

type Shown = {
  readonly agent: boolean;
  readonly agentAnswers: boolean | null;
  readonly frozen?: boolean;
  readonly extension: { readonly state: string } | null;
  readonly tracking: readonly Mark[];
};

type Untracked = { readonly dryRun: boolean; readonly tracking: readonly Mark[] };

async function init(folder: string, name: string): Promise<{ path: string; id: string }> {
  const path = join(folder, name);
  const args = ['repo', 'init', path, '--no-encryption'];
  return { path, id: (await json<{ repositoryId: string }>(args)).repositoryId };
}

async function backUp(
  vm: string,
  connection: readonly string[],
  repository: string,
): Promise<Taken> {
  const to = ['--repo', repository, '--no-encryption', '--json'];
  return JSON.parse((await succeed(['vm', 'backup', vm, ...connection, ...to])).stdout) as Taken;
}

function brief(marks: readonly Mark[]): string[] {
  return marks
    .map(({ repositoryId, disk, point }) => `${repositoryId} ${disk} ${point}`)
    .toSorted();
}

test('a running VM of QEMU', async (t) => {
  const images = await libvirtFolder(t);
  const data = await emptyDisk(images, { name: 'data', format: 'qcow2', size: '8M' });
  const site = await Site.make(t, [(await systemDisk(images)).path, data.path]);
  const { guest, connection, folder } = site;
  const expected = (id: string, point: string): string[] =>
    ['vd0', 'vd1'].map((disk) => `${id} ${disk} ${point}`);
  const vm = await site.name();
  const show = async (): Promise<Shown> => await json<Shown>(['vm', 'show', vm, ...connection]);
  const bitmaps = async (): Promise<string[]> => {
    const nodes = (await guest.qmp('query-named-block-nodes')) as readonly {
      readonly 'dirty-bitmaps'?: readonly { readonly name: string }[];
    }[];
    const names = nodes.flatMap((node) => node['dirty-bitmaps'] ?? []).map(({ name }) => name);
    return [...new Set(names)].toSorted();
  };
  const kept = await init(folder, 'kept');
  const lost = await init(folder, 'lost');
  await guest.qmp('block-dirty-bitmap-add', { node: 'disk0', name: 'another-product' });

  await t.test('before the first backup nothing is on it, and the agent answers', async () => {
    const { agent, agentAnswers, frozen, extension, tracking } = await show();
    assert.deepEqual([agent, agentAnswers, frozen], [true, true, false]);
    assert.equal(extension?.state, 'absent');
    assert.deepEqual(tracking, []);
    const { stdout } = await succeed(['vm', 'show', vm, ...connection]);
    assert.match(stdout, /^Guest agent: answers$/m);
  });

  const inKept = await backUp(vm, connection, kept.path);
  const inLost = await backUp(vm, connection, lost.path);

  await t.test('show tells whose backups follow its changes, and the extension', async () => {
    const { extension, tracking } = await show();
    assert.equal(extension?.state, 'installed');
    const all = [...expected(kept.id, inKept.pointId), ...expected(lost.id, inLost.pointId)];
    assert.deepEqual(brief(tracking), all.toSorted());
    assert.ok(tracking.every(({ usable, reason }) => usable && reason === undefined));
  });

  await t.test('untrack of a repository that is gone removes its bitmap and no other', async () => {
    await rm(lost.path, { recursive: true });
    const untrack = ['vm', 'untrack', vm, ...connection, '--repository-id', lost.id];
    const before = await bitmaps();
    const would = await json<Untracked>([...untrack, '--dry-run']);
    assert.deepEqual(brief(would.tracking), expected(lost.id, inLost.pointId));
    assert.deepEqual(await bitmaps(), before);
    const done = await json<Untracked>(untrack);
    assert.deepEqual({ ...done, dryRun: true }, would);
    const left = ['another-product', `holdfast-${kept.id}-${inKept.pointId}`];
    assert.deepEqual(await bitmaps(), left);
    assert.match((await succeed(untrack)).stdout, /has no bitmaps or checkpoints/);
    assert.equal((await backUp(vm, connection, kept.path)).disks[0]!.tracking, 'bitmap');
  });

  await t.test(
    'after it the next backup compares, says why, and follows changes again',
    async () => {
      await succeed(['vm', 'untrack', vm, ...connection, '--repo', kept.path]);
      assert.deepEqual(await bitmaps(), ['another-product']);
      const [disk] = (await backUp(vm, connection, kept.path)).disks;
      assert.equal(disk!.tracking, 'compare');
      assert.match(disk!.reason!, /no bitmap of this repository.*vm untrack/);
      assert.equal((await show()).tracking.length, 2);
    },
  );

  await t.test('whose tracking is meant has to be said', async () => {
    for (const given of [[], ['--all', '--repo', kept.path], ['--repository-id', 'x']]) {
      await fail(['vm', 'untrack', vm, ...connection, ...given], { code: 2, says: /repository/ });
    }
  });

  await t.test('a failed backup tells what was done in the guest until then', async () => {
    const configuration = { pluginName: 'ScriptRunner', preScriptLocation: '/etc/azure/pre.sh' };
    const more = { postScriptLocation: '', continueBackupOnFailure: false, timeoutInSeconds: 30 };
    const text = JSON.stringify({ ...configuration, ...more, preScriptNoOfRetries: 0 });
    const path = '/etc/azure/VMSnapshotScriptPluginConfig.json';
    await guest.sh(
      `mkdir -p /etc/azure && printf '#!/bin/sh\\nexit 4\\n' >/etc/azure/pre.sh && ` +
        `chmod 700 /etc/azure/pre.sh && echo '${text}' >${path} && chmod 600 ${path}`,
    );
    const command = ['vm', 'backup', vm, ...connection, '--repo', kept.path, '--no-encryption'];
    const failed = await run([...command, '--json']);
    assert.equal(failed.code, 1, failed.stderr);
    const { error } = JSON.parse(failed.stdout) as {
      error: { code: string; steps: { name: string; outcome: string; durationMs: number }[] };
    };
    assert.equal(error.code, 'Pre-ScriptExecutionFailed');
    const steps = error.steps.map(({ name, outcome }) => `${name} ${outcome}`);
    assert.deepEqual(steps, ['Install extension succeeded', 'Pre-script failed']);
    assert.ok(error.steps.every(({ durationMs }) => Number.isInteger(durationMs)));
    const { stderr } = await run(command);
    assert.match(
      stderr,
      /^What was done in the guest:\n {2}Install extension: .*\n {2}Pre-script: failed \[Pre-ScriptExecutionFailed\]\nholdfast: .* \[Pre-ScriptExecutionFailed\]\n$/m,
    );
    await guest.sh(`rm ${path}`);
  });

  await t.test('an agent that is silent is told once, with what to do', async () => {
    await guest.sh(
      'setsid sh -c "sleep 1; kill -STOP \\$(pidof qemu-ga); sleep 60; kill -CONT \\$(pidof qemu-ga)" </dev/null >/dev/null 2>&1 &',
    );
    let shown = await show();
    while (shown.agentAnswers === true) shown = await show();
    assert.deepEqual([shown.agent, shown.agentAnswers, shown.extension], [true, false, null]);
    const to = ['--repo', kept.path, '--no-encryption'];
    const { stdout, stderr } = await succeed(['vm', 'backup', vm, ...connection, ...to]);
    assert.match(stdout, /crash-consistent/);
    const said = `${stdout}${stderr}`.match(/qemu-guest-agent/g);
    assert.equal(said?.length, 1, `${stdout}${stderr}`);
    assert.match(
      stderr,
      /warning: Contact guest agent: .*install qemu-guest-agent.*"holdfast vm show NAME --connect URI"/,
    );
  });
});

test('a VM of libvirt, running and off', async (t) => {
  const folder = await libvirtFolder(t);
  const disks = [
    await systemDisk(folder),
    await emptyDisk(folder, { name: 'data', format: 'qcow2', size: '8M' }),
  ];
  const guest = await startLibvirtGuest(t, { folder, disks });
  const repository = await init(folder, 'repository');
  const show = async (): Promise<Shown> => await json<Shown>(['vm', 'show', guest.name]);
  const checkpoints = async (): Promise<string[]> =>
    (await virsh('checkpoint-list', guest.name, '--name'))
      .split('\n')
      .filter((name) => name !== '');
  await virsh('checkpoint-create-as', guest.name, 'another-product');

  await t.test('running: checkpoints with their bitmaps go, those of others stay', async () => {
    const { pointId } = await backUp(guest.name, [], repository.path);
    const { agentAnswers, tracking } = await show();
    assert.equal(agentAnswers, true);
    assert.deepEqual(
      brief(tracking),
      ['vda', 'vdb'].map((disk) => `${repository.id} ${disk} ${pointId}`),
    );
    assert.ok(tracking.every(({ usable }) => usable));
    await succeed(['vm', 'untrack', guest.name, '--all']);
    assert.deepEqual(await checkpoints(), ['another-product']);
    assert.deepEqual((await show()).tracking, []);
    const again = await backUp(guest.name, [], repository.path);
    assert.deepEqual(
      again.disks.map((disk) => disk.tracking),
      ['compare', 'compare'],
    );
    assert.match(again.disks[0]!.reason!, /vm untrack/);
  });

  await t.test('bitmaps that libvirt has forgotten are told, and go too', async () => {
    const xml = await domainXml(guest.name, { folder, disks });
    await virsh('destroy', guest.name);
    await untilOff(guest.name);
    await virsh('undefine', guest.name, '--checkpoints-metadata');
    await defineXml(folder, xml);
    await virsh('start', guest.name);
    const { tracking } = await show();
    assert.deepEqual(
      tracking.map(({ disk, usable }) => [disk, usable]),
      [
        ['vda', false],
        ['vdb', false],
      ],
    );
    assert.match(tracking[0]!.reason!, /no checkpoint/);
    const { tracking: removed } = await json<Untracked>(['vm', 'untrack', guest.name, '--all']);
    assert.equal(removed.length, 2);
    assert.deepEqual((await show()).tracking, []);
    await guest.sh('true');
  });

  await t.test('off: bitmaps go from the images, and libvirt forgets its checkpoints', async () => {
    await virsh('checkpoint-create-as', guest.name, 'third-product');
    await backUp(guest.name, [], repository.path);
    await virsh('destroy', guest.name);
    await untilOff(guest.name);
    const { agentAnswers, tracking } = await show();
    assert.equal(agentAnswers, null);
    assert.deepEqual(
      tracking.map(({ disk, usable }) => [disk, usable]),
      [
        ['vda', true],
        ['vdb', true],
      ],
    );
    await succeed(['vm', 'untrack', guest.name, '--repo', repository.path]);
    assert.deepEqual((await show()).tracking, []);
    assert.deepEqual(await checkpoints(), ['third-product']);
    for (const { path } of disks) {
      const bitmaps = await bitmapsIn(path);
      assert.ok(bitmaps.includes('third-product'));
      assert.deepEqual(
        bitmaps.filter((name) => name.startsWith('holdfast')),
        [],
      );
    }
    await virsh('start', guest.name);
    await guest.sh('true');
  });
});

test('images of a VM that does not run', async (t) => {
  const folder = await libvirtFolder(t);
  const connection = ['--connect', `images:${join(folder, 'images')}`];
  await mkdir(join(folder, 'images'));
  const { path } = await emptyDisk(join(folder, 'images'), {
    name: 'web',
    format: 'qcow2',
    size: '8M',
  });
  const { path: repository } = await init(folder, 'repository');
  await promisify(execFile)('qemu-img', ['bitmap', '--add', path, 'another-product']);
  await backUp('web', connection, repository);
  assert.equal((await bitmapsIn(path)).length, 2);
  const { tracking } = await json<Untracked>(['vm', 'untrack', 'web', ...connection, '--all']);
  assert.deepEqual(
    tracking.map(({ disk, usable }) => [disk, usable]),
    [['web', true]],
  );
  assert.deepEqual(await bitmapsIn(path), ['another-product']);
  const [disk] = (await backUp('web', connection, repository)).disks;
  assert.equal(disk!.tracking, 'compare');
  assert.match(disk!.reason!, /vm untrack/);
});

test('a bitmap in a backing image is told as such, and left there', async (t) => {
  const folder = await libvirtFolder(t);
  const images = join(folder, 'images');
  const connection = ['--connect', `images:${images}`];
  await mkdir(join(images, 'web'), { recursive: true });
  const base = await emptyDisk(join(images, 'web'), { name: 'base', format: 'qcow2', size: '8M' });
  const repository = await init(folder, 'repository');
  const { pointId } = await backUp('web', connection, repository.path);
  const top = join(images, 'web', 'top.qcow2');
  const create = ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base.path, top];
  await promisify(execFile)('qemu-img', create);
  const { tracking } = await json<Shown>(['vm', 'show', 'web', ...connection]);
  assert.deepEqual(brief(tracking), [`${repository.id} top ${pointId}`]);
  assert.equal(tracking[0]!.usable, false);
  assert.match(tracking[0]!.reason!, /in ".*base\.qcow2", which the image is based on/);
  const untrack = ['vm', 'untrack', 'web', ...connection, '--all'];
  const would = await json<Untracked & { left: readonly Mark[] }>([...untrack, '--dry-run']);
  assert.deepEqual([would.tracking.length, would.left.length], [0, 1]);
  const { stdout } = await succeed(untrack);
  const [, command] = /to remove it: (qemu-img .*)$/m.exec(stdout) ?? [];
  assert.equal((await bitmapsIn(base.path)).length, 1);
  await promisify(execFile)('sh', ['-c', command!]);
  assert.deepEqual(await bitmapsIn(base.path), []);
});

async function bitmapsIn(path: string): Promise<string[]> {
  const args = ['info', '-U', '--output=json', '-f', 'qcow2', path];
  const { stdout } = await promisify(execFile)('qemu-img', args);
  const info = JSON.parse(stdout) as {
    readonly 'format-specific': { data: { bitmaps?: readonly { readonly name: string }[] } };
  };
  return (info['format-specific'].data.bitmaps ?? []).map(({ name }) => name);
}
