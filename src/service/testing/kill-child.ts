/**
 * A service that works until it is killed: its schedule runs fast, and beside it its user does this and that.
 *
 *     node kill-child.ts DATA IMAGES ACCOUNT SINCE SPEED SEED
 *
 * Says on standard output, a line each: `open`; `finding …` of the doctor at the start; `acked STARTED VM POINT` for
 * points whose job, begun at that time, is seen to have ended well.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '#base';
import { backUpNow } from '../backing-up/start-backup.ts';
import { startDueBackups } from '../backing-up/scheduler.ts';
import { backUpGroupNow } from '../consistency-groups/start-group-backup.ts';
import { examine } from '../doctor/doctor.ts';
import { listItems, type Item, type ItemName } from '../items/items.ts';
import { deleteData, protect, stopRetaining, undelete } from '../items/protect.ts';
import { listPoints } from '../points/points.ts';
import { startRestore } from '../restoring/start-restore.ts';
import { openService, type Service } from '../service.ts';
import { fastClock } from './fast-clock.ts';
import { ACCOUNT, CONSISTENT, KILL_SETTINGS, POLICY, VM_COUNT, vmName } from './kill-world.ts';
import { seeded } from './seeded.ts';
import { GROUP, VAULT } from './test-service.ts';

const [data, since, speed, seed] = process.argv.slice(2) as [string, string, string, string];
const random = seeded(Number(seed));
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const quiet = { info: () => undefined, warn: () => undefined };

const clock = fastClock({ sinceMs: Number(since), speed: Number(speed) });
const service = await openService({
  data,
  clock,
  machine: { bootId: 'kill', upMs: clock.nowMs },
  random: (sizeBytes) => randomBytes(sizeBytes),
  version: 'test',
  process: { host: 'test', pid: process.pid, command: 'kill-child' },
  log: { ...quiet, error: (facts, message) => say(`error ${message} ${JSON.stringify(facts)}`) },
  settings: KILL_SETTINGS,
});
say('open');
for (const { severity, where, what } of await examine(service)) {
  // Its leases end in milliseconds of the fast clock.
  if (severity === 'error' && !what.includes('nobody works at it'))
    say(`finding ${where}: ${what}`);
}
await Promise.all([schedule(), acknowledge(), act()]);

async function schedule(): Promise<void> {
  for (;;) {
    await startDueBackups(service);
    await sleep(50);
  }
}

async function acknowledge(): Promise<void> {
  const told = new Set<string>();
  for (;;) {
    const ended = await service.catalogue.read
      .selectFrom('jobs')
      .select(['id', 'entity', 'pointId', 'startedAt'])
      .where('operation', '=', 'Backup')
      .where('status', 'in', ['Completed', 'CompletedWithWarnings'])
      .execute();
    for (const { id, entity, pointId, startedAt } of ended) {
      if (told.has(id)) continue;
      told.add(id);
      say(`acked ${startedAt} ${entity} ${pointId}`);
    }
    await sleep(20);
  }
}

/** A user: what he is refused is no matter. */
async function act(): Promise<void> {
  for (;;) {
    const items = await listItems(service.catalogue.read, VAULT);
    const vm = { group: GROUP, name: vmName(Math.floor(random(VM_COUNT))) };
    const item = items.find(({ vmName: name }) => name === vm.name);
    try {
      // One that had been deleted for long has gone.
      if (item === undefined) await protect(service, { vault: VAULT, vm }, { policy: POLICY });
      else await oneAction(service, item);
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
    }
    await sleep(random(120));
  }
}

async function oneAction(parts: Service, item: Item): Promise<void> {
  const name: ItemName = { vault: VAULT, vm: { group: item.vmGroup, name: item.vmName } };
  if (item.state === 'SoftDeleted') return void (await undelete(parts, name));
  if (item.state === 'ProtectionStopped')
    return void (await protect(parts, name, { policy: POLICY }));
  const choice = random(10);
  if (choice < 4) await backUpNow(parts, name, undefined);
  else if (choice < 5) await stopRetaining(parts, name);
  else if (choice < 6) await deleteData(parts, name);
  else if (choice < 7) await protect(parts, name, { policy: POLICY });
  else if (choice < 8) await backUpGroupNow(parts, { vault: VAULT, name: CONSISTENT }, undefined);
  else if (choice < 9) {
    const [point] = await listPoints(parts.catalogue.read, item.id);
    if (point === undefined) return;
    await startRestore(parts, name, { kind: 'disks', point: point.id, account: ACCOUNT });
  }
}
