/** libvirt's `<domainbackup>` (formatbackup.html), pull or push mode: what we ask for, and what a running one says. */
import { attribute, buildXml, child, children, parseXml, type NewElement } from './xml.ts';

export type BackupDisk = {
  readonly name: string;
  /** Of its scratch image; in push mode what the disk is copied into. */
  readonly scratchPath: string;
  /** The checkpoint that the increment counts from; undefined: a full backup of the disk. */
  readonly base: string | undefined;
};

/** Of the disks that are named, and no others. */
export function backupXml(backup: {
  readonly socketPath: string;
  readonly disks: readonly BackupDisk[];
}): string {
  return buildXml({
    name: 'domainbackup',
    attributes: { mode: 'pull' },
    content: [
      { name: 'server', attributes: { transport: 'unix', socket: backup.socketPath } },
      { name: 'disks', content: backup.disks.map(backedUp) },
    ],
  });
}

/** libvirt copies the disks into their images by itself, and the job ends then. */
export function pushXml(disks: readonly BackupDisk[]): string {
  const content = disks.map(({ name, scratchPath, base }) => ({
    name: 'disk',
    attributes: { name, backup: 'yes', type: 'file', ...backupMode(base) },
    content: [
      { name: 'driver', attributes: { type: 'qcow2' } },
      { name: 'target', attributes: { file: scratchPath } },
    ],
  }));
  return buildXml({
    name: 'domainbackup',
    attributes: { mode: 'push' },
    content: [{ name: 'disks', content }],
  });
}

function backupMode(base: string | undefined): {
  readonly backupmode: string;
  readonly incremental: string | undefined;
} {
  return { backupmode: base === undefined ? 'full' : 'incremental', incremental: base };
}

function backedUp({ name, scratchPath, base }: BackupDisk): NewElement {
  return {
    name: 'disk',
    attributes: {
      name,
      backup: 'yes',
      type: 'file',
      ...backupMode(base),
      exportname: name,
      exportbitmap: base === undefined ? undefined : bitmapExportName(name),
    },
    content: [
      { name: 'driver', attributes: { type: 'qcow2' } },
      { name: 'scratch', attributes: { file: scratchPath } },
    ],
  };
}

/** What the increment's bitmap is called on the NBD export; libvirt's own default. */
export function bitmapExportName(diskName: string): string {
  return `backup-${diskName}`;
}

/** What a backup that runs was given. */
export type RunningBackup = {
  readonly socketPath: string | undefined;
  /** Of scratch images, and in push mode of what is copied into. */
  readonly scratchPaths: readonly string[];
};

export function readRunningBackup(xml: string): RunningBackup {
  const backup = parseXml(xml, 'domainbackup');
  const scratchPaths = children(child(backup, 'disks'), 'disk').flatMap((disk) => {
    const path = attribute(child(disk, 'scratch') ?? child(disk, 'target'), 'file');
    return path === undefined ? [] : [path];
  });
  return { socketPath: attribute(child(backup, 'server'), 'socket'), scratchPaths };
}
