/**
 * Gives the disks of a command line other images. What it opens besides, and nothing of the new VM uses, goes:
 * QEMU would lock the old VM's images.
 */
import { existsSync } from 'node:fs';
import { HoldfastError } from '#base';
import type { VmDisk } from '../../vm.ts';
import type { NewVmDisk } from '../../vm-creation.ts';
import { changeSettings, settingsOf, type Argument, type Settings } from './arguments.ts';
import { imageBelow, namesIn, readNodes, textOf, useImage, writeNode } from './block-nodes.ts';
import { driveOf, flashNodes, readDrives, type Drive } from './drives.ts';

/** Settings of `-drive` that say nothing of the image. */
const OF_ANY_IMAGE =
  /^(if|index|bus|unit|media|id|cache|cache\..*|aio|discard|detect-zeroes|rerror|werror|copy-on-read|readonly|read-only|throttling.*|iops.*|bps.*|group)$/;

/** Devices that can stop the VM when their disk fails; others (NVMe, SD) only tell the guest. */
const CAN_STOP = /^(virtio-blk|ide-hd|ide-drive|scsi-hd|scsi-disk|usb-storage)/;
const BUS_CAN_STOP = ['ide', 'scsi', 'virtio'];
const ERROR_POLICIES = ['rerror', 'werror'];

type Context = {
  readonly program: string;
  readonly warn: (message: string) => void;
};

/**
 * @param all the VM's disks; those without a new image are left out.
 * @param parsed with `-hda` and the like spelt out.
 */
export function useDisks(
  parsed: readonly Argument[],
  disks: { readonly all: readonly VmDisk[]; readonly images: readonly NewVmDisk[] },
  { program, warn }: Context,
): Argument[] {
  const drives = readDrives(parsed, program);
  const gone = new Set<Argument>();
  const added: Argument[] = [];
  const kept = new Set<Drive>();
  for (const disk of disks.all) {
    const image = disks.images.find(({ name }) => name === disk.name);
    if (image === undefined) continue;
    const drive = driveOf(disk, drives);
    if (drive === undefined) {
      warn(`the disk ${disk.name} was plugged in while the VM ran: it becomes a virtio disk`);
      added.push(...virtioDisk(image, { disk, place: added.length }));
      continue;
    }
    kept.add(drive);
    setImage(parsed, drive, image);
    if (image.backing !== undefined) stopOnErrors(drive);
  }
  for (const drive of drives) {
    if (drive.use === 'disk' && !kept.has(drive)) removeDrive(drive, gone);
    if (drive.use === 'removable') ejectAbsent(drive, gone);
  }
  return unusedNodesRemoved([...parsed.filter((argument) => !gone.has(argument)), ...added]);
}

/** Other images for some disks; the others stay. @throws {HoldfastError} `DiskNotFound`. */
export function replaceImages(
  parsed: readonly Argument[],
  disks: { readonly all: readonly VmDisk[]; readonly images: readonly NewVmDisk[] },
  { program, name }: { readonly program: string; readonly name: string },
): Argument[] {
  const drives = readDrives(parsed, program);
  for (const image of disks.images) {
    const disk = disks.all.find((one) => one.name === image.name);
    const drive = disk === undefined ? undefined : driveOf(disk, drives);
    if (drive === undefined) {
      const known = disks.all.map((one) => one.name).join(', ');
      throw new HoldfastError(
        'DiskNotFound',
        `${name} has no disk "${image.name}", it has ${known}`,
        { details: { vm: name, disk: image.name } },
      );
    }
    setImage(parsed, drive, image);
    if (image.backing !== undefined) stopOnErrors(drive);
  }
  return unusedNodesRemoved(parsed);
}

function setImage(parsed: readonly Argument[], { backend }: Drive, image: NewVmDisk): void {
  if ('drive' in backend) {
    changeSettings(backend.drive, (settings) => {
      settings.remove(...settings.keys().filter((key) => !OF_ANY_IMAGE.test(key)));
      settings.set('file', image.path);
      settings.set('format', image.format);
    });
    return;
  }
  const nodes = readNodes(parsed);
  const root = nodes.get(textOf(backend.node.node['node-name']) ?? '')!;
  const below = imageBelow(root.node, nodes);
  useImage(below, image, nodes);
  for (const node of nodes.values()) writeNode(node);
}

/** A server that is gone must not be a disk's error to the guest: the VM pauses, and can be resumed. */
function stopOnErrors({ backend, device }: Drive): void {
  const stop = (settings: Settings): void => {
    for (const key of ERROR_POLICIES) settings.set(key, 'stop');
  };
  if (device !== undefined) {
    if (CAN_STOP.test(settingsOf(device).get('driver') ?? '')) changeSettings(device, stop);
  } else if ('drive' in backend) {
    const bus = settingsOf(backend.drive).get('if');
    if (bus === undefined || BUS_CAN_STOP.includes(bus)) changeSettings(backend.drive, stop);
  }
}

/** In place: at errors the disks do what those of `original` with their names do. Both with `-hda` and the like spelt out. */
export function restoreErrorPolicies(
  parsed: readonly Argument[],
  original: readonly Argument[],
  { disks, program }: { readonly disks: readonly VmDisk[]; readonly program: string },
): void {
  const [drives, models] = [readDrives(parsed, program), readDrives(original, program)];
  for (const disk of disks) {
    const [drive, model] = [driveOf(disk, drives), driveOf(disk, models)];
    if (drive === undefined) continue;
    useErrorPolicies(drive.device, model?.device);
    if ('drive' in drive.backend) useErrorPolicies(drive.backend.drive, driveArgument(model));
  }
}

function useErrorPolicies(argument: Argument | undefined, model: Argument | undefined): void {
  if (argument === undefined) return;
  const like = model === undefined ? undefined : settingsOf(model);
  changeSettings(argument, (settings) => {
    for (const key of ERROR_POLICIES) {
      const value = like?.get(key);
      if (value !== undefined) settings.set(key, value);
      else if (settings.has(key)) settings.remove(key);
    }
  });
}

function driveArgument(drive: Drive | undefined): Argument | undefined {
  return drive !== undefined && 'drive' in drive.backend ? drive.backend.drive : undefined;
}

function removeDrive({ backend, device }: Drive, gone: Set<Argument>): void {
  if ('drive' in backend) gone.add(backend.drive);
  else gone.add(backend.node.argument);
  if (device !== undefined) gone.add(device);
}

/** A medium that this host does not have would keep the VM from starting. */
function ejectAbsent({ backend, device, file }: Drive, gone: Set<Argument>): void {
  if (file === undefined || file === '' || !file.startsWith('/') || existsSync(file)) return;
  if ('drive' in backend) {
    changeSettings(backend.drive, (settings) => settings.remove('file', 'format', 'driver'));
    return;
  }
  gone.add(backend.node.argument);
  if (device !== undefined) changeSettings(device, (settings) => settings.remove('drive'));
}

function virtioDisk(
  { name, path, format, backing }: NewVmDisk,
  { disk, place }: { readonly disk: VmDisk; readonly place: number },
): Argument[] {
  const node = `restored-${place}`;
  const file = { driver: 'file', filename: path };
  const serial = disk.serial === undefined ? '' : `,serial=${disk.serial.replaceAll(',', ',,')}`;
  const onErrors = backing === undefined ? '' : ',rerror=stop,werror=stop';
  return [
    { flag: 'blockdev', value: JSON.stringify({ 'node-name': node, driver: format, file }) },
    { flag: 'device', value: `virtio-blk-pci,drive=${node},id=${name}${serial}${onErrors}` },
  ];
}

/** Nodes that no device, no flash and no other node names; and drives of devices that are not there. */
function unusedNodesRemoved(parsed: readonly Argument[]): Argument[] {
  const nodes = readNodes(parsed);
  const used = new Set<string>(flashNodes(parsed).keys());
  for (const argument of parsed) {
    if (argument.flag !== 'device' && argument.flag !== 'global') continue;
    const settings = settingsOf(argument);
    for (const key of ['drive', 'driveA', 'driveB']) used.add(settings.get(key) ?? '');
  }
  for (const name of used) {
    for (const below of namesIn(nodes.get(name)?.node ?? {})) used.add(below);
  }
  return parsed.filter((argument) => {
    const settings = settingsOf(argument);
    if (argument.flag === 'drive') return !isUnused(settings, used);
    if (argument.flag !== 'blockdev') return true;
    return [...nodes].some(([name, node]) => node.argument === argument && used.has(name));
  });
}

function isUnused(settings: Settings, used: ReadonlySet<string>): boolean {
  return settings.get('if') === 'none' && !used.has(settings.get('id') ?? '');
}
