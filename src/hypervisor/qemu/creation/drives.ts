/**
 * Which disk of the VM is which on QEMU's command line. A disk is called as QMP calls it: by the id of its
 * device, else by its backend, else by its node; and where that does not tell, by its file.
 *
 * ```
 *   -blockdev …,node-name=N  -device …,drive=N,id=NAME        -drive if=none,id=D,…  -device …,drive=D,id=NAME
 *   -drive if=virtio,…       (its backend is "virtio0")       -hda FILE, FILE        ("ide0-hd0")
 * ```
 */
import type { VmDisk } from '../../vm.ts';
import { settingsOf, type Argument, type Settings } from './arguments.ts';
import { fileOf, imageBelow, readNodes, type NamedNode } from './block-nodes.ts';

/** A disk as the command line has it. */
export type Drive = {
  readonly backend: { readonly drive: Argument } | { readonly node: NamedNode };
  /** Absent: QEMU makes it, or none has it. */
  readonly device?: Argument;
  readonly names: readonly string[];
  readonly file: string | undefined;
  readonly use: 'disk' | 'removable' | 'flash';
};

const REMOVABLE = /^(ide-cd|scsi-cd|floppy|usb-bot)$/;
/** Units of a bus, by `if=`; other kinds have no buses. */
const UNITS: Readonly<Record<string, number>> = { ide: 2, scsi: 7, floppy: 2 };

/** `-hda`, `-cdrom` and bare images as the `-drive` that QEMU makes of them. */
export function spellOutDrives(parsed: readonly Argument[]): Argument[] {
  return parsed.map(({ flag, value }) => {
    const text = (value ?? '').replaceAll(',', ',,');
    const index = flag === '' ? 0 : ['hda', 'hdb', 'hdc', 'hdd'].indexOf(flag);
    if (index >= 0) return { flag: 'drive', value: `index=${index},media=disk,file=${text}` };
    if (flag === 'cdrom') return { flag: 'drive', value: `index=2,media=cdrom,file=${text}` };
    if (flag === 'fda' || flag === 'fdb') {
      return { flag: 'drive', value: `if=floppy,index=${flag === 'fda' ? 0 : 1},file=${text}` };
    }
    return value === undefined ? { flag } : { flag, value };
  });
}

/** Every drive of the command line; `-hda` and the like spelt out. */
export function readDrives(parsed: readonly Argument[], program: string): Drive[] {
  const devices = devicesByDrive(parsed);
  return [...spelledDrives(parsed, { devices, program }), ...nodeDrives(parsed, devices)];
}

type Devices = ReadonlyMap<string, Argument>;

function spelledDrives(
  parsed: readonly Argument[],
  { devices, program }: { readonly devices: Devices; readonly program: string },
): Drive[] {
  const nameOf = backendNamer(parsed, program);
  return parsed
    .filter(({ flag }) => flag === 'drive')
    .map((argument) => {
      const settings = settingsOf(argument);
      const backend = nameOf(settings);
      const device = devices.get(backend);
      const isFlash = settings.get('if') === 'pflash';
      return {
        backend: { drive: argument },
        ...(device === undefined ? {} : { device }),
        names: [...idOf(device), backend],
        file: settings.get('file') ?? settings.get('file.filename'),
        use: isFlash ? 'flash' : useOf(device, settings),
      };
    });
}

function nodeDrives(parsed: readonly Argument[], devices: Devices): Drive[] {
  const nodes = readNodes(parsed);
  const flash = flashNodes(parsed);
  return [...nodes].flatMap(([name, node]): Drive[] => {
    const device = devices.get(name);
    if (device === undefined && !flash.has(name)) return [];
    return [
      {
        backend: { node },
        ...(device === undefined ? {} : { device }),
        names: [...idOf(device), name],
        file: fileOf(imageBelow(node.node, nodes), nodes),
        use: flash.has(name) ? 'flash' : useOf(device),
      },
    ];
  });
}

/** By name first: a file may have moved, and two disks cannot have the same name. */
export function driveOf(disk: VmDisk, drives: readonly Drive[]): Drive | undefined {
  const disks = drives.filter(({ use }) => use === 'disk');
  return (
    disks.find(({ names }) => names[0] === disk.name) ??
    disks.find(({ names }) => names.includes(disk.name)) ??
    disks.find(({ file }) => file !== undefined && file === disk.location)
  );
}

/** Names of the nodes that `-machine pflash0=…` names, with its unit. */
export function flashNodes(parsed: readonly Argument[]): ReadonlyMap<string, number> {
  const names = new Map<string, number>();
  for (const argument of parsed) {
    if (argument.flag !== 'machine' && argument.flag !== 'M') continue;
    const settings = settingsOf(argument);
    for (const unit of [0, 1]) {
      const name = settings.get(`pflash${unit}`);
      if (name !== undefined) names.set(name, unit);
    }
  }
  return names;
}

function devicesByDrive(parsed: readonly Argument[]): ReadonlyMap<string, Argument> {
  return new Map(
    parsed.flatMap((argument): [string, Argument][] => {
      const drive = argument.flag === 'device' ? settingsOf(argument).get('drive') : undefined;
      return drive === undefined ? [] : [[drive, argument]];
    }),
  );
}

function idOf(device: Argument | undefined): string[] {
  const id = device === undefined ? undefined : settingsOf(device).get('id');
  return id === undefined ? [] : [id];
}

function useOf(device: Argument | undefined, drive?: Settings): 'disk' | 'removable' {
  if (drive?.get('media') === 'cdrom' || drive?.get('if') === 'floppy') return 'removable';
  const driver = device === undefined ? undefined : settingsOf(device).get('driver');
  return REMOVABLE.test(driver ?? '') ? 'removable' : 'disk';
}

/** Gives each `-drive`, in their order, the name that QEMU gives it (blockdev.c, `drive_new`). */
function backendNamer(
  parsed: readonly Argument[],
  program: string,
): (settings: Settings) => string {
  const usual = /x86_64|i386|kvm/.test(program) ? 'ide' : 'virtio';
  const isQ35 = parsed.some(
    (argument) =>
      (argument.flag === 'machine' || argument.flag === 'M') &&
      settingsOf(argument).get('type')?.includes('q35') === true,
  );
  const taken = new Set<string>();
  return (settings) => {
    const kind = settings.get('if') ?? usual;
    const units = kind === 'ide' && isQ35 ? 1 : (UNITS[kind] ?? 0);
    const place = placeOf(settings, {
      units,
      isTaken: (at) => taken.has(`${kind}:${at.join(':')}`),
    });
    taken.add(`${kind}:${place.join(':')}`);
    const medium = settings.get('media') === 'cdrom' ? '-cd' : '-hd';
    const isMarked = kind === 'ide' || kind === 'scsi' || medium === '-cd';
    const name = `${kind}${units === 0 ? '' : place[0]}${isMarked ? medium : ''}${place[1]}`;
    return settings.get('id') ?? name;
  };
}

type Place = readonly [bus: number, unit: number];

/** As it says; else the first that is free. */
function placeOf(
  settings: Settings,
  { units, isTaken }: { readonly units: number; readonly isTaken: (place: Place) => boolean },
): Place {
  if (settings.has('bus') || settings.has('unit')) {
    return [Number(settings.get('bus') ?? 0), Number(settings.get('unit') ?? 0)];
  }
  const placeAt = (index: number): Place =>
    units === 0 ? [0, index] : [Math.floor(index / units), index % units];
  if (settings.has('index')) return placeAt(Number(settings.get('index')));
  let index = 0;
  while (isTaken(placeAt(index))) index += 1;
  return placeAt(index);
}
