/** The sample VM of `npm start`: made, protected and backed up, each step shown as the command that does it. */
import { execFile } from 'node:child_process';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { HoldfastError } from '#base';
import { formatBytes } from '../output/units.ts';
import { listHosts } from '../service/hosts.ts';
import { listPoints } from '../service/points.ts';
import { listItems, listVaults, listVms } from '../service/resources.ts';
import { withService } from '../service/run-service-command.ts';
import type { Service } from '../service/service.ts';
import { listAccounts } from '../service/storage-accounts.ts';
import type { Surroundings } from '../surroundings.ts';
import { makeSampleDisk } from '../tour/sample-disk.ts';

const HOST = 'sample';
const VM = 'sample-vm';

type Guide = {
  /** The data folder. */
  readonly data: string;
  readonly say: (text: string) => void;
  /** Runs a command of `holdfast`. @returns its exit code. */
  readonly run: (args: readonly string[]) => Promise<number>;
  readonly throwIfCancelled: () => void;
};

/** What there is already. */
type Known = {
  /** Another VM than the sample: nothing is made. */
  readonly hasOwnVms: boolean;
  readonly hasHost: boolean;
  readonly hasVault: boolean;
  readonly hasAccount: boolean;
  readonly isProtected: boolean;
  readonly hasPoint: boolean;
};

const execute = promisify(execFile);

export class Sample {
  readonly #guide: Guide;
  isThere = false;

  constructor(guide: Guide) {
    this.#guide = guide;
  }

  /** Does what is not done yet. @returns the exit code of a command that failed, which has said why, or 0. */
  async make(surroundings: Surroundings): Promise<number> {
    const known = await lookAround(surroundings);
    this.isThere = known.hasHost;
    if (known.hasOwnVms || known.hasPoint) return 0;
    const { data, say } = this.#guide;
    const images = join(data, 'sample', 'images');
    say(
      'There is nothing to protect yet: here is a sample VM. It does not run, its disk has real files.',
    );
    if (!known.hasHost) await this.#makeImage(join(images, VM));
    const steps: readonly (readonly [boolean, string, readonly string[]])[] = [
      [
        known.hasHost,
        'Its folder is a host',
        ['host', 'add', HOST, '--connect', `images:${images}`],
      ],
      [
        known.hasVault,
        'A vault keeps recovery points',
        ['vault', 'create', 'main', '--group', HOST],
      ],
      [
        known.hasAccount,
        'A storage account is where disks are restored to',
        [
          'storage-account',
          'add',
          'restored',
          '--group',
          HOST,
          '--path',
          join(data, 'sample', 'restored'),
        ],
      ],
      [known.isProtected, 'From now on it is backed up every day', ['protect', VM]],
      [false, 'The first recovery point, without waiting for tonight', ['backup', VM]],
      [false, 'What there is now', ['points', VM]],
    ];
    for (const [isDone, title, args] of steps) {
      if (isDone) continue;
      const exitCode = await this.#show(title, args);
      if (exitCode !== 0) return exitCode;
    }
    this.isThere = true;
    return 0;
  }

  async #show(title: string, args: readonly string[]): Promise<number> {
    const { say, run, throwIfCancelled } = this.#guide;
    throwIfCancelled();
    say(`\n── ${title}\n$ holdfast ${args.join(' ')}\n`);
    return await run(args);
  }

  /** Under its name only when it is whole. */
  async #makeImage(folder: string): Promise<void> {
    const { say, throwIfCancelled } = this.#guide;
    const image = join(folder, 'system.qcow2');
    if (await isFile(image)) return;
    throwIfCancelled();
    await mkdir(folder, { recursive: true });
    const meanwhile = join(this.#guide.data, 'sample', 'making');
    await rm(meanwhile, { recursive: true, force: true });
    await mkdir(meanwhile, { recursive: true });
    try {
      const raw = join(meanwhile, 'disk.raw');
      const { sizeBytes, fileCount } = await makeSampleDisk(meanwhile, raw);
      const made = join(meanwhile, 'system.qcow2');
      await convert(raw, made);
      await rename(made, image);
      say(`${image}: ${formatBytes(sizeBytes)}, ext4, ${fileCount} files of this machine`);
    } finally {
      await rm(meanwhile, { recursive: true, force: true });
    }
  }
}

async function lookAround(surroundings: Surroundings): Promise<Known> {
  let known: Known | undefined;
  await withService(surroundings, {}, async ({ service }) => {
    known = await knownBy(service);
  });
  if (known === undefined) throw new TypeError('nobody looked around');
  return known;
}

async function knownBy(service: Service): Promise<Known> {
  const [hosts, vms, vaults, accounts] = await Promise.all([
    listHosts(service),
    listVms(service),
    listVaults(service),
    listAccounts(service),
  ]);
  const items = await listItems(service);
  const item = items.find(({ vm }) => vm.group === HOST && vm.name === VM);
  const points = item === undefined ? [] : await listPoints(service, item);
  return {
    hasOwnVms: vms.some(({ group }) => group !== HOST) || hosts.some(({ name }) => name !== HOST),
    hasHost: hosts.some(({ name }) => name === HOST),
    hasVault: vaults.length > 0,
    hasAccount: accounts.length > 0,
    isProtected: item !== undefined,
    hasPoint: points.length > 0,
  };
}

/** @throws {HoldfastError} `ToolMissing` */
async function convert(from: string, to: string): Promise<void> {
  try {
    await execute('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', from, to]);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      throw new HoldfastError('ToolMissing', 'qemu-img is not installed (Debian: qemu-utils)', {
        cause,
      });
    }
    throw new HoldfastError('DiskUnavailable', `qemu-img failed: ${message}`, { cause });
  }
}

async function isFile(path: string): Promise<boolean> {
  return await stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  );
}
