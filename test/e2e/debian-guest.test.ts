/**
 * A Debian 12 with a busy database through `holdfast vm`, from its first backup to its return after everything
 * was lost. One guest for all of it, in order: each step goes on from the one before.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { json, run, succeed, withoutPasswords } from '../cli/holdfast.ts';
import {
  configureScripts,
  moreTransfers,
  needsRecovery,
  openBank,
  transfersIn,
} from './debian-bank.ts';
import { assertCleanSystem, debianDisks, hasBooted, startDebian } from './debian-guest.ts';
import { RestoredGuest } from './restored-guest.ts';
import { guestFolder, type TinyGuest } from './tiny-guest.ts';

withoutPasswords();

type Taken = {
  readonly pointId: string;
  readonly disks: readonly {
    readonly name: string;
    readonly size: number;
    readonly read: number;
    readonly changed: number;
    readonly tracking: string;
  }[];
  readonly consistency: string;
  readonly frozenMs?: number;
  readonly steps: readonly {
    readonly name: string;
    readonly outcome: string;
    readonly code?: string;
    readonly message: string;
  }[];
};

type Extension = {
  readonly name: string;
  readonly state: string;
  readonly files: readonly { readonly path: string }[];
};

const MIB = 1024 * 1024;
/** A script that fails, and says why. */
const FAILING = "printf '#!/bin/sh\\necho no money today; exit 3\\n' >/etc/azure/failing.sh";

/** The guest, its repository, and the commands on them. */
class Debian {
  readonly folder: string;
  readonly guest: TinyGuest;
  readonly disks: readonly string[];

  constructor(folder: string, guest: TinyGuest, disks: readonly string[]) {
    this.folder = folder;
    this.guest = guest;
    this.disks = disks;
  }

  static async start(t: TestContext): Promise<Debian> {
    const folder = await guestFolder(t);
    const disks = await debianDisks(folder);
    await succeed(['repo', 'init', join(folder, 'repository'), '--no-encryption']);
    return new Debian(folder, await startDebian(t, disks), disks);
  }

  get connection(): readonly string[] {
    return ['--connect', `qmp:${this.guest.qmpPath},agent=${this.guest.agentPath}`];
  }

  get repository(): string {
    return join(this.folder, 'repository');
  }

  async name(): Promise<string> {
    const { vms } = await json<{ vms: { name: string }[] }>(['vm', 'list', ...this.connection]);
    return vms[0]!.name;
  }

  async backupCommand(): Promise<string[]> {
    const to = ['--repo', this.repository, '--item', 'debian', '--no-encryption', '--json'];
    return ['vm', 'backup', await this.name(), ...this.connection, ...to];
  }

  async backUp(): Promise<Taken> {
    const { stdout } = await succeed(await this.backupCommand());
    return JSON.parse(stdout) as Taken;
  }

  async extension(): Promise<Extension> {
    return await json(['vm', 'extension', await this.name(), ...this.connection]);
  }

  /** The system disk of a point as a raw image. */
  async restored({ pointId }: Taken): Promise<string> {
    const path = join(this.folder, `${pointId}.raw`);
    const to = ['--disk', `vd0=${path}`, '--no-encryption'];
    await succeed(['repo', 'restore', this.repository, pointId, ...to]);
    return path;
  }
}

function stepOf(taken: Taken, name: string): Taken['steps'][number] | undefined {
  return taken.steps.find((step) => step.name === name);
}

test('a Debian guest with a busy database, from its first backup to its return', async (t) => {
  const debian = await Debian.start(t);
  const { guest } = debian;
  await openBank(guest);
  await guest.sh('sync');
  const before = await listing(guest);
  const configurationBefore = await checksums(guest);
  const extensionBefore = await debian.extension();
  await moreTransfers(guest, 5);
  const first = await debian.backUp();
  const transfers = await moreTransfers(guest, 30);
  const second = await debian.backUp();

  await t.test('M5 pre- and post-scripts stop a Debian database: AppConsistent', () => {
    for (const taken of [first, second]) {
      const outcomes = taken.steps.map(({ name, outcome }) => `${name} ${outcome}`);
      assert.equal(taken.consistency, 'AppConsistent', JSON.stringify(taken.steps));
      for (const name of ['Pre-script', 'Freeze', 'Thaw', 'Post-script']) {
        assert.ok(outcomes.includes(`${name} succeeded`), outcomes.join(', '));
      }
    }
  });

  await t.test(
    'M5 an app-consistent database opens without recovery, with all its money',
    async () => {
      const image = await debian.restored(second);
      await assertCleanSystem(image);
      assert.equal(await needsRecovery(image), false);
      const restored = await transfersIn(image, join(debian.folder, 'bank-2'));
      assert.ok(restored >= transfers, `${restored} transfers of ${transfers} at least`);
      await rm(image);
    },
  );

  await t.test('M8 an increment of a Debian guest reads what its bitmaps name', () => {
    assert.deepEqual(
      second.disks.map(({ name, tracking }) => [name, tracking]),
      [
        ['vd0', 'bitmap'],
        ['vd1', 'bitmap'],
      ],
    );
    assert.ok(second.disks[0]!.changed > 0);
    assert.ok(second.disks[0]!.changed < 64 * MIB, `${second.disks[0]!.changed} changed`);
    assert.ok(second.disks[0]!.read < first.disks[0]!.read, `${second.disks[0]!.read} read`);
  });

  await t.test('M2 vm extension shows VMSnapshotLinux in the Debian guest', async () => {
    assert.equal(extensionBefore.state, 'absent');
    const { name, state, files } = await debian.extension();
    assert.deepEqual([name, state], ['VMSnapshotLinux', 'installed']);
    assert.ok(files.some(({ path }) => path === '/var/lib/holdfast/VMSnapshotLinux'));
  });

  await t.test('M11 backups change nothing of a Debian guest but for the extension', async () => {
    const after = await listing(guest);
    const added = [...after].filter((line) => !before.has(line));
    const gone = [...before].filter((line) => !after.has(line));
    const isOurs = (line: string) => line.startsWith('/var/lib/holdfast');
    assert.equal(added.filter(isOurs).length, 4, added.join('\n'));
    // The folder that holds the extension's.
    const isOther = (line: string) => !isOurs(line) && !line.startsWith('/var/lib d');
    assert.deepEqual(added.filter(isOther), []);
    assert.deepEqual(gone.filter(isOther), []);
    assert.equal(await checksums(guest), configurationBefore);
  });

  await guest.sh(`${FAILING}; chmod 700 /etc/azure/failing.sh`);

  await t.test('M5 a failing pre-script with leave to go on: file-system consistent', async () => {
    await configureScripts(guest, { preScriptLocation: '/etc/azure/failing.sh' });
    const taken = await debian.backUp();
    assert.equal(taken.consistency, 'FileSystemConsistent');
    const step = stepOf(taken, 'Pre-script');
    assert.deepEqual([step?.outcome, step?.code], ['failed', 'Pre-ScriptExecutionFailed']);
    assert.match(step?.message ?? '', /ended with 3.*no money today/);
    const image = await debian.restored(taken);
    await assertCleanSystem(image);
    // Its journal, where there is one, is what recovers it.
    await transfersIn(image, join(debian.folder, 'bank-3'));
    await rm(image);
  });

  await t.test('M5 without leave to go on the job fails with Azure’s code', async () => {
    for (const phase of ['Pre', 'Post'] as const) {
      const failing = { [`${phase.toLowerCase()}ScriptLocation`]: '/etc/azure/failing.sh' };
      await configureScripts(guest, { continueBackupOnFailure: false, ...failing });
      const { code, stdout, stderr } = await run(await debian.backupCommand());
      assert.equal(code, 1);
      const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
      assert.equal(error.code, `${phase}-ScriptExecutionFailed`);
      assert.match(stderr, /no money today/);
      await guest.sh('[ ! -p /run/bank/release ] || /etc/azure/bank-post.sh');
    }
    const { points } = await json<{ points: unknown[] }>([
      'repo',
      'points',
      debian.repository,
      '--no-encryption',
    ]);
    assert.equal(points.length, 3, 'and there is no point of it');
  });

  await configureScripts(guest);
  await guest.sh('echo written before the end >/srv/data/last');
  const transfersAtLast = await moreTransfers(guest, 10);
  const last = await debian.backUp();

  await t.test('M5 M18 after failures the next backup is app-consistent, by its bitmaps', () => {
    assert.equal(last.consistency, 'AppConsistent', JSON.stringify(last.steps));
    assert.deepEqual(
      last.disks.map(({ tracking }) => tracking),
      ['bitmap', 'bitmap'],
    );
  });

  await guest.kill();
  await Promise.all(debian.disks.map(async (path) => await rm(path)));
  await t.test('M17 Debian is lost, and its images are written: clean, with all data', async () => {
    await comesBackAsImages(debian, { last, transfersAtLast });
  });
  await t.test('M17 a Debian that was lost boots from its restored disks and goes on', async () => {
    await comesBackAsVm(t, debian, transfersAtLast);
  });
});

type Restored = {
  readonly point: string;
  readonly disks: readonly {
    readonly name: string;
    readonly path: string;
    readonly format: string;
  }[];
  readonly vm?: unknown;
};

async function comesBackAsImages(
  debian: Debian,
  { last, transfersAtLast }: { readonly last: Taken; readonly transfersAtLast: number },
): Promise<void> {
  const directory = join(debian.folder, 'images');
  const result = await json<Restored>(restoreCommand(debian, directory));
  assert.equal(result.point, last.pointId);
  assert.deepEqual(
    result.disks.map(({ name, format }) => [name, format]),
    [
      ['vd0', 'qcow2'],
      ['vd1', 'qcow2'],
    ],
  );
  const raw = join(debian.folder, 'restored.raw');
  const [system] = result.disks;
  await promisify(execFile)('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', system!.path, raw]);
  await assertCleanSystem(raw);
  assert.equal(await needsRecovery(raw), false);
  const transfers = await transfersIn(raw, join(debian.folder, 'bank-restored'));
  assert.ok(transfers >= transfersAtLast, `${transfers} of ${transfersAtLast} at least`);
  await Promise.all([rm(raw), rm(directory, { recursive: true })]);
}

async function comesBackAsVm(
  t: TestContext,
  debian: Debian,
  transfersAtLast: number,
): Promise<void> {
  const restored = await RestoredGuest.in(t, debian.folder, 'r');
  const { directory, connection } = restored;
  const as = ['--as', 'debian2', '--start', ...connection, '--json'];
  const { stdout } = await succeed([...restoreCommand(debian, directory), ...as]);
  assert.deepEqual((JSON.parse(stdout) as Restored).vm, { name: 'debian2', isStarted: true });

  await restored.answers();
  await hasBooted(restored);
  assert.equal(await restored.sh('cat /srv/data/last'), 'written before the end\n');
  await restored.sh('cd /srv/data && sha256sum --quiet --strict -c MANIFEST.sha256');
  const failed = await restored.sh('systemctl list-units --failed --plain --no-legend');
  assert.equal(failed, '', 'and every unit is well');
  // The service that moves money is back by itself, and goes on where it was.
  assert.ok((await moreTransfers(restored, 5)) >= transfersAtLast + 5);

  const to = ['--repo', debian.repository, '--item', 'debian', '--no-encryption', '--json'];
  const backup = await succeed(['vm', 'backup', 'debian2', ...connection, ...to]);
  const { consistency, disks } = JSON.parse(backup.stdout) as Taken;
  assert.equal(consistency, 'AppConsistent', 'and so are its next backups');
  assert.ok(disks[0]!.changed < 64 * MIB, `${disks[0]!.changed} changed`);
}

function restoreCommand({ repository }: Debian, directory: string): string[] {
  const from = ['--repo', repository, '--no-encryption', '--dir', directory];
  return ['vm', 'restore', 'debian', ...from];
}

/**
 * Every path of the system but what changes by itself: with type, mode, owner, size, times and inode. Nobody can
 * set the time of change (`%C@`): where it is the same, so is the content.
 */
async function listing(guest: TinyGuest): Promise<ReadonlySet<string>> {
  // What is mounted, what is written by logs and timers, and the database.
  const mounts = ['/dev', '/proc', '/run', '/sys'];
  const own = [...mounts, '/var/log', '/var/lib/systemd', '/var/tmp', '/tmp', '/srv/bank'];
  const without = own.map((path) => `-path ${path} -prune`).join(' -o ');
  const format = '%p %y %i %m %U:%G %s %T@ %C@ %l\\n';
  const text = await guest.sh(`find / -xdev \\( ${without} \\) -o -printf '${format}'`);
  return new Set(text.trim().split('\n'));
}

/** Of all that its administrator wrote. */
async function checksums(guest: TinyGuest): Promise<string> {
  return await guest.sh(
    'find /etc /usr/local /root /boot/grub -type f -exec sha256sum {} + | sort -k 2',
  );
}
