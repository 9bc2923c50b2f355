/** Instant boot of a real point with real overlays and servers; what the hypervisor does is scripted. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { HoldfastError, isHoldfastError, type Clock } from '#base';
import type { Hypervisor, Vm } from '#hypervisor';
import { clock, makeLab, noise, run, writeImage, type Lab } from '../testing/lab.ts';
import { bootVm } from './boot-vm.ts';
import type { BootedVm } from './booted-vm.ts';
import { vmNoteToJson } from './vm-note.ts';

const MIB = 1024 * 1024;
const TIME_MS = Date.UTC(2026, 0, 2, 3, 4, 5);
/** Names of images tell seconds only: here every boot is in the same one. */
const stopped: Clock = { ...clock, monotonicMs: () => 0, nowMs: () => TIME_MS };
const FIRST = 'web2-osdisk-20260102-030405.qcow2';
const NOTE = 'holdfast-boot.json';
const SECOND = 'web2-datadisk-0-20260102-030405.qcow2';

type Creation = Hypervisor['creation'];
type Call = keyof Creation;

class ScriptedHost {
  readonly calls: string[] = [];
  /** Of the VM that was defined. */
  images: readonly string[] = [];
  readonly #fails: Call | undefined;
  readonly #taken: readonly string[];

  constructor({ fails, taken = [] }: { readonly fails?: Call; readonly taken?: string[] } = {}) {
    this.#fails = fails;
    this.#taken = taken;
  }

  get hypervisor(): Hypervisor {
    const answer =
      (call: Call) =>
      async (subject: string | { readonly name: string }): Promise<void> => {
        this.calls.push(`${call} ${typeof subject === 'string' ? subject : subject.name}`);
        if (call === this.#fails) throw new HoldfastError('HypervisorFailed', `no ${call}`);
      };
    const creation: Creation = {
      check: async ({ name }) => {
        if (this.#taken.includes(name)) throw new HoldfastError('VmExists', name);
      },
      defined: async (name) => ({
        ...VM,
        name,
        disks: VM.disks.map((disk, at) => ({ ...disk, location: this.images[at] ?? '' })),
      }),
      runState: async () => 'running',
      resume: answer('resume'),
      define: async (request) => {
        this.images = request.disks.map(({ path }) => path);
        await answer('define')(request);
      },
      start: answer('start'),
      powerOff: answer('powerOff'),
      undefine: answer('undefine'),
      replaceDisks: answer('replaceDisks'),
      moveToImage: answer('moveToImage'),
      restoreErrorPolicies: answer('restoreErrorPolicies'),
    };
    return { creation, uri: 'test:///' } as Partial<Hypervisor> as Hypervisor;
  }
}

const VM: Vm = {
  name: 'web',
  state: 'off',
  disks: ['vda', 'vdb'].map((name) => ({
    name,
    sizeBytes: MIB,
    format: 'raw',
    location: `/old/${name}`,
  })),
  firmware: 'bios',
  networkCards: [],
  hasAgentChannel: false,
};

type BootLab = Lab & {
  readonly directory: string;
  readonly files: () => Promise<readonly string[]>;
  readonly boot: (
    host: ScriptedHost,
    use?: (booted: BootedVm) => Promise<void>,
    other?: { readonly isTrial?: boolean; readonly directory?: string },
  ) => Promise<void>;
};

async function bootLab(t: TestContext): Promise<BootLab> {
  const lab = await makeLab(t);
  const disks = VM.disks.map(({ name }) => ({ name, location: lab.path(`${name}.raw`) }));
  for (const { name, location } of disks) {
    await writeImage(location, MIB, [{ offset: 0, bytes: noise(name, 4096) }]);
  }
  const definition = { hypervisor: 'qemu', vm: VM, commandLine: ['qemu'], files: [] } as const;
  const vm = (): unknown => vmNoteToJson({ definition, disks: [], excluded: [] });
  const { pointId: point } = await lab.backUp({ disks, vm });
  const directory = lab.path('vm');
  await mkdir(directory);
  return {
    ...lab,
    directory,
    files: async () => (await readdir(directory)).toSorted(),
    boot: async ({ hypervisor }, use, other = {}) =>
      await lab.read(async (repository) => {
        const newVm = { name: 'web2', identity: 'new', networks: 'none', hypervisor } as const;
        const warn = (message: string): void => void lab.warnings.push(message);
        const booted = await bootVm({
          repository,
          point,
          directory,
          newVm,
          isTrial: true,
          ...other,
          clock: stopped,
          warn,
        });
        try {
          await use?.(booted);
        } finally {
          await booted.close();
        }
      }),
  };
}

test('a VM is started on overlays that read from the point; a trial leaves nothing', async (t) => {
  const lab = await bootLab(t);
  const host = new ScriptedHost();
  await lab.boot(host, async (booted) => {
    assert.deepEqual(await lab.files(), [NOTE, 'vda.nbd', 'vdb.nbd', SECOND, FIRST]);
    for (const { name, path } of booted.images)
      await run('qemu-img', 'compare', path, lab.path(`${name}.raw`));
    await booted.discard();
  });
  assert.deepEqual(host.calls, ['define web2', 'start web2', 'powerOff web2', 'undefine web2']);
  assert.deepEqual(await lab.files(), []);
});

test('where the VM cannot be defined or started nothing is left', async (t) => {
  const lab = await bootLab(t);
  for (const fails of ['define', 'start'] as const) {
    const host = new ScriptedHost({ fails });
    await assert.rejects(lab.boot(host), { code: 'HypervisorFailed', message: `no ${fails}` });
    assert.equal(host.calls.includes('undefine web2'), fails === 'start');
    assert.deepEqual(await lab.files(), []);
  }
});

test('an image of the same name is kept, and only what was made is removed', async (t) => {
  const lab = await bootLab(t);
  await writeFile(join(lab.directory, SECOND), 'precious');
  const host = new ScriptedHost();
  await assert.rejects(lab.boot(host), { code: 'OutputExists' });
  assert.deepEqual(host.calls, []);
  assert.deepEqual(await lab.files(), [SECOND]);
  assert.equal(await readFile(join(lab.directory, SECOND), 'utf8'), 'precious');
});

test('a folder without room for the whole disks is refused before anything is made, but for a trial', async (t) => {
  const lab = await bootLab(t);
  const directory = lab.path('tiny');
  await mkdir(directory);
  await run('/bin/mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory);
  try {
    const ours = { isTrial: false, directory };
    // 2 MiB of disks, of which 128 KiB are data.
    await lab.boot(new ScriptedHost(), async (booted) => await booted.discard(), ours);
    await writeFile(join(directory, 'other'), Buffer.alloc(MIB - 100 * 1024, 1));
    const host = new ScriptedHost();
    await assert.rejects(lab.boot(host, undefined, ours), (error: unknown) => {
      assert.ok(isHoldfastError(error, 'StoreFull'));
      assert.equal(error.details['neededBytes'], 128 * 1024);
      return /has \d+ MiB free, and the disks need \d+ MiB/.test(error.message);
    });
    assert.deepEqual(host.calls, []);
    assert.deepEqual(await readdir(directory), ['other']);
  } finally {
    await run('/bin/umount', directory);
  }
});

test('a name that is taken is refused before anything is made; the VM that has it runs on', async (t) => {
  const lab = await bootLab(t);
  const refused = new ScriptedHost({ taken: ['web2'] });
  await assert.rejects(lab.boot(refused), { code: 'VmExists' });
  assert.deepEqual(refused.calls, []);
  assert.deepEqual(await lab.files(), []);
  await lab.boot(new ScriptedHost(), async () => {
    const before = await lab.files();
    const again = new ScriptedHost();
    await assert.rejects(lab.boot(again), { code: 'BootUnfinished' });
    assert.deepEqual(again.calls, []);
    assert.deepEqual(await lab.files(), before);
    await run('qemu-img', 'compare', join(lab.directory, FIRST), lab.path('vda.raw'));
  });
});
