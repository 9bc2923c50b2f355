/** A guest of QEMU with a second, raw disk for the numbers of lockstep.ts, and its port. */
import { copyFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { portArguments } from './lockstep.ts';
import { guestFolder, startGuest, tinyGuestFolder, type TinyGuest } from './tiny-guest.ts';

export async function lockstepGuest(t: TestContext): Promise<TinyGuest> {
  const runDir = await guestFolder(t);
  const disks = [join(runDir, 'disk.qcow2'), join(runDir, 'numbers.raw')];
  await copyFile(join(await tinyGuestFolder(), 'disk.qcow2'), disks[0]!);
  await writeFile(disks[1]!, '');
  await truncate(disks[1]!, 8 << 20);
  return await startGuest(t, { runDir, disks, args: portArguments(socketIn(runDir)) });
}

export function socketIn(runDir: string): string {
  return join(runDir, 'lockstep.sock');
}
