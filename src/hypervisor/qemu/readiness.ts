/** Whether a backup of the VM is safe right now: no migration, no job and no other backup on its disks. */
import { HoldfastError } from '#base';
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { PowerState } from '../vm.ts';
import type { BlockLayer, QemuDisk } from './block-layer.ts';
import { isOurs } from './names.ts';

/** States of QEMU (RunState) in which its disks must be left alone, with the way out. */
const UNREADY: Readonly<Record<string, string>> = {
  colo: 'it is being replicated: back its primary up when that has ended',
  'finish-migrate': 'it is being migrated: wait until it has arrived, and back it up there',
  inmigrate: 'it is being migrated to here: wait until it has arrived',
  'internal-error': 'QEMU has stopped it after an error of its own: reset or restart it',
  'io-error':
    'it stands still because a disk refused a write: make room or repair the disk, then let it go on',
  postmigrate: 'it was migrated away: back it up where it is now',
  'restore-vm': 'its state is being restored: wait until that has ended',
  'save-vm': 'its state is being saved: wait until that has ended',
};
/** Jobs that change disks, or what lies below what. */
const DISK_JOBS = /^(backup|mirror|commit|stream|amend|snapshot-(save|load|delete))$/;
const MIGRATING = new Set([
  'setup',
  'active',
  'device',
  'pre-switchover',
  'postcopy-active',
  'wait-unplug',
]);

export async function powerStateOf(qmp: QmpClient): Promise<PowerState> {
  return (await qmp.execute('query-status')).running ? 'running' : 'paused';
}

/** @throws {HoldfastError} `VmBusy`. */
export async function checkReady(qmp: QmpClient): Promise<void> {
  const [{ status }, migration, jobs] = await Promise.all([
    qmp.execute('query-status'),
    qmp.execute('query-migrate'),
    qmp.execute('query-jobs'),
  ]);
  if (UNREADY[status] !== undefined) throw busy(UNREADY[status]);
  if (MIGRATING.has(migration.status ?? '')) {
    throw busy('it is being migrated: wait until it has arrived, or cancel the migration');
  }
  const job = jobs.find(({ id, type }) => DISK_JOBS.test(type) && !isOurs(id));
  if (job === undefined) return;
  throw busy(
    `its block job ${job.id} (${job.type}, ${job.status}) works on its disks: wait, or cancel it`,
  );
}

/** @throws {HoldfastError} `VmBusy` if another product has its filter in one of the disks. */
export function checkDisks(disks: readonly QemuDisk[], layer: BlockLayer): void {
  const drivers = new Map(layer.nodes.map((node) => [node['node-name'], node.drv]));
  for (const disk of disks) {
    let node: string | undefined = disk.rootNode;
    while (node !== undefined && node !== disk.imageNode) {
      if (drivers.get(node) === 'copy-before-write') {
        throw busy(
          `another backup copies from its disk ${disk.name} (${node}): wait until it has ended`,
        );
      }
      node = layer.childrenOf(node).get('file') ?? layer.childrenOf(node).get('backing');
    }
  }
}

function busy(why: string): HoldfastError {
  return new HoldfastError('VmBusy', `the VM cannot be backed up now: ${why}`);
}
