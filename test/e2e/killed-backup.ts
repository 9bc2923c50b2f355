/**
 * A backup in a process of its own, to be killed: takes it as far as it is told, says so, and waits.
 *
 *     killed-backup.ts '{"uri":…,"vm":…,"scratchDir":…,"repositoryId":…,"point":…,"bases":[[disk,[…]]],"otherBases":[…],"until":"snapshot"}'
 *
 * Prints `there` when it is.
 */
import { randomBytes } from 'node:crypto';
import { realClock } from '#base';
import type { TrackingBase } from '#hypervisor';
import { connectQemu } from '../../src/hypervisor/qemu/connect-qemu.ts';
import { BLOCK_SIZE } from './backup-history.ts';

export type KilledBackup = {
  readonly uri: string;
  readonly vm: string;
  readonly scratchDir: string;
  readonly repositoryId: string;
  readonly point: string;
  readonly bases: readonly (readonly [string, readonly TrackingBase[]])[];
  readonly otherBases: readonly string[];
  readonly mechanism: 'filter' | 'job' | 'push';
  readonly until: 'prepared' | 'snapshot' | 'disks';
};

const work = JSON.parse(process.argv[2] ?? '') as KilledBackup;
const { uri, mechanism, vm, scratchDir, repositoryId, point } = work;
const hypervisor = await connectQemu({ uri, clock: realClock(), random: randomBytes, mechanism });
const prepared = await hypervisor.prepare({
  vm,
  tracking: {
    repositoryId,
    point,
    bases: new Map(work.bases),
    otherBases: new Set(work.otherBases),
    blockSize: BLOCK_SIZE,
  },
  scratchDir,
  warn: () => {},
});
if (work.until !== 'prepared') {
  const snapshot = await prepared.snapshot();
  if (work.until === 'disks') await snapshot.disks();
}
process.stdout.write('there\n');
setInterval(() => {}, 60_000);
