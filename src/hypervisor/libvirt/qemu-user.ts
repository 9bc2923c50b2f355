/**
 * The user whose processes libvirt's QEMUs are: on most hosts another one than root, who makes images and serves
 * points. What was made for a VM is given to that user, and the folders above it are looked at.
 */
import { lchown, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { HoldfastError, isHoldfastError, type ErrorCode } from '#base';
import { runTool } from '#disk';
import { readDomain } from './domain-xml.ts';
import type { Virsh } from './virsh.ts';
import { attribute, child, children, parseXml, textAt } from './xml.ts';

export type QemuUser = { readonly uid: number; readonly gid: number };

/**
 * @param xml of the domain, which may name a user of its own.
 * @returns undefined: QEMU runs as we do, or nothing can be given away, as we are not root.
 */
export async function qemuUser(virsh: Virsh, xml: string): Promise<QemuUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const user = readDomain(xml).owner ?? (await usualUser(virsh));
  return user?.uid === 0 ? undefined : user;
}

/** What qemu.conf says, as libvirt tells it to everybody. */
async function usualUser(virsh: Virsh): Promise<QemuUser | undefined> {
  const host = child(parseXml(await virsh.run(['capabilities']), 'capabilities'), 'host');
  const dac = children(host, 'secmodel').find((model) => textAt(model, 'model') === 'dac');
  const label = children(dac, 'baselabel').find((one) => attribute(one, 'type') === 'qemu');
  const [, uid, gid] = /^\+(\d+):\+(\d+)$/.exec(label?.textContent?.trim() ?? '') ?? [];
  return uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}

/** Files that are not there are left out: libvirt makes them, and says what it lacks. */
export async function giveToQemu(
  user: QemuUser | undefined,
  paths: readonly string[],
): Promise<void> {
  if (user === undefined) return;
  for (const path of paths) {
    await lchown(path, user.uid, user.gid).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
  }
}

/** The sockets of points that the domain's disks are read from. */
export function servedSockets(xml: string): string[] {
  const disks = children(child(parseXml(xml, 'domain'), 'devices'), 'disk');
  return disks.flatMap((disk) => {
    const source = child(disk, 'backingStore', 'source');
    const socket = attribute(child(source, 'host'), 'socket');
    return attribute(source, 'protocol') === 'nbd' && socket !== undefined ? [socket] : [];
  });
}

/**
 * Asks as that user, so that groups and access lists count. A folder that is not there yet: the one above it.
 *
 * @param refusal the code, and what to do instead of opening the folder.
 * @throws {HoldfastError} of that code if QEMU could not reach files in the folder.
 */
export async function refuseImpassable(
  user: QemuUser | undefined,
  folder: string,
  refusal: { readonly code: ErrorCode; readonly instead: string },
): Promise<void> {
  if (user === undefined || user.uid === 0 || process.getuid?.() !== 0) return;
  let blocked = await nearest(resolve(folder));
  if (await canPass(user, blocked)) return;
  while (!(await canPass(user, dirname(blocked)))) blocked = dirname(blocked);
  throw new HoldfastError(
    refusal.code,
    `QEMU runs as ${await nameOf(user)} here and may not pass through "${blocked}": chmod o+x it, or ${refusal.instead}`,
    { details: { path: blocked, uid: user.uid } },
  );
}

async function nearest(folder: string): Promise<string> {
  const isThere = await stat(folder).then(
    () => true,
    () => false,
  );
  return isThere ? folder : await nearest(dirname(folder));
}

/** True where it cannot be found out: libvirt will say. */
async function canPass({ uid, gid }: QemuUser, folder: string): Promise<boolean> {
  const as = [`--reuid=${uid}`, `--regid=${gid}`, '--init-groups'];
  const script = 'test -x "$1" && echo yes || echo no';
  const args = [...as, 'sh', '-c', script, 'sh', folder];
  try {
    const result = await runTool({ command: 'setpriv', args });
    return 'complaint' in result || result.output.trim() !== 'no';
  } catch (error) {
    if (isHoldfastError(error, 'ToolMissing')) return true;
    throw error;
  }
}

async function nameOf({ uid }: QemuUser): Promise<string> {
  const result = await runTool({ command: 'id', args: ['-un', String(uid)] });
  return 'output' in result ? result.output.trim() : `user ${uid}`;
}
