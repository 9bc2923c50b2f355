/**
 * What QEMU's block layer looks like: the disks of the guest, and for each the node that the device has and
 * the node of its active image, where bitmaps live.
 *
 *     device ─drive─► root node ─► filters (throttle, copy-on-read …) ─► image node ─► file, backing
 *                        ▲
 *                        └── a backup's own filter comes in between
 *
 * `query-block` tells of the devices; which node lies on which only `x-debug-query-block-graph` (QEMU >= 4.0).
 */
import { showsThreadedDisks, type QemuVersion } from '../io-thread.ts';
import { basename, dirname } from 'node:path';
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { QmpBitmap, QmpBlock, QmpBlockGraph, QmpNode } from '../qmp/qmp-commands.ts';
import type { VmDisk } from '../vm.ts';
import { hasStreamJob } from './stream-jobs.ts';

export type QemuDisk = VmDisk & {
  /** QOM path of the object that has the property `drive`. */
  readonly qomPath: string;
  readonly rootNode: string;
  readonly imageNode: string;
  /** Of the image node. */
  readonly bitmaps: readonly QmpBitmap[];
  readonly node: QmpNode;
  /** It has an I/O thread, and this QEMU may end when it is read over NBD (`io-thread.ts`). */
  readonly isUnshowable: boolean;
};

export type BlockLayer = {
  readonly disks: readonly QemuDisk[];
  /** All; while a stream job is there, only those that devices have (`stream-jobs.ts`). */
  readonly nodes: readonly QmpNode[];
  /** Files of firmware flash, by unit: 0 its code, 1 its variables. */
  readonly flash: ReadonlyMap<number, string>;
  /** By node: `child` → name of the node below it. */
  readonly childrenOf: (node: string) => ReadonlyMap<string, string>;
};

/** Drivers that show what lies below them as it is. */
const FILTERS = new Set([
  'copy-before-write',
  'throttle',
  'copy-on-read',
  'preallocate',
  'compress',
]);
/** Their data does not pass through QEMU's block layer. */
const OUTSIDE_QEMU = /^(vhost-user-blk|vhost-user-scsi|vhost-scsi)/;
const PASS_THROUGH = new Set(['scsi-generic', 'scsi-block']);
/** A device may lie directly on one of these, without a format between. */
const PROTOCOLS = new Set(['file', 'host_device', 'nbd', 'rbd', 'iscsi', 'nvme', 'https', 'http']);
const CONTAINERS = ['/machine/peripheral', '/machine/peripheral-anon'];

export async function readBlockLayer(qmp: QmpClient): Promise<BlockLayer> {
  const isStreaming = await hasStreamJob(qmp);
  const [{ qemu }, blocks, named, graph, outside] = await Promise.all([
    qmp.execute('query-version'),
    qmp.execute('query-block'),
    isStreaming ? undefined : qmp.execute('query-named-block-nodes', { flat: false }),
    qmp.execute('x-debug-query-block-graph'),
    disksOutside(qmp),
  ]);
  const nodes = named ?? blocks.flatMap(({ inserted }) => inserted ?? []);
  const childrenOf = childrenIn(graph);
  const byName = new Map(nodes.map((node) => [node['node-name'], node]));
  const flash = new Map<number, string>();
  const disks: QemuDisk[] = [];
  for (const block of blocks) {
    const { inserted } = block;
    if (inserted === undefined || block.removable) continue;
    const unit = flashUnit(block);
    if (unit !== undefined) flash.set(unit, inserted.file);
    else if (block.qdev !== undefined) {
      const imageName = imageBelow(inserted['node-name'] ?? '', { byName, childrenOf });
      const node = byName.get(imageName) ?? inserted;
      const device = { ...block, qdev: block.qdev, inserted };
      const disk = await describeDisk(qmp, device, node);
      disks.push({ ...disk, isUnshowable: await isUnshowable(qmp, disk, qemu) });
    }
  }
  const all = [...disks, ...outside].toSorted((left, right) => (left.name < right.name ? -1 : 1));
  return { disks: all, nodes, flash, childrenOf };
}

function childrenIn(graph: QmpBlockGraph): BlockLayer['childrenOf'] {
  const names = new Map(graph.nodes.map(({ id, name }) => [id, name]));
  const children = new Map<string, Map<string, string>>();
  for (const { parent, child, name } of graph.edges) {
    const ofParent = children.get(names.get(parent) ?? '') ?? new Map<string, string>();
    ofParent.set(name, names.get(child) ?? '');
    children.set(names.get(parent) ?? '', ofParent);
  }
  return (node) => children.get(node) ?? new Map<string, string>();
}

function imageBelow(
  root: string,
  layer: {
    readonly byName: ReadonlyMap<string | undefined, QmpNode>;
    readonly childrenOf: BlockLayer['childrenOf'];
  },
): string {
  let node = root;
  while (FILTERS.has(layer.byName.get(node)?.drv ?? '')) {
    const below = layer.childrenOf(node).get('file') ?? layer.childrenOf(node).get('backing');
    if (below === undefined) break;
    node = below;
  }
  return node;
}

/** `pflash0` of -drive, `/machine/system.flash0` of -machine. */
function flashUnit({ device, qdev = '' }: QmpBlock): number | undefined {
  const unit = /^pflash(\d)$/.exec(device)?.[1] ?? /^\/machine\/\S*flash(\d)$/.exec(qdev)?.[1];
  return unit === undefined ? undefined : Number(unit);
}

async function describeDisk(
  qmp: QmpClient,
  block: QmpBlock & { readonly qdev: string; readonly inserted: QmpNode },
  node: QmpNode,
): Promise<Omit<QemuDisk, 'isUnshowable'>> {
  const qomPath = block.qdev.startsWith('/') ? block.qdev : `/machine/peripheral/${block.qdev}`;
  const [type, serial, isShared] = await Promise.all(
    ['type', 'serial', 'share-rw'].map((property) => readProperty(qmp, qomPath, property)),
  );
  const name = diskName(block, node);
  const refusal = refusalOf({ name, type, isShared: isShared === true, node });
  return {
    name,
    sizeBytes: node.image['virtual-size'],
    format: PROTOCOLS.has(node.drv) ? 'raw' : node.drv,
    location: node.file,
    ...(typeof serial === 'string' && serial !== '' ? { serial } : {}),
    ...(refusal === undefined ? {} : { refusal }),
    qomPath,
    rootNode: block.inserted['node-name'] ?? '',
    imageNode: node['node-name'] ?? '',
    bitmaps: node['dirty-bitmaps'] ?? [],
    node,
  };
}

/** The device's id; else the name of its backend, as `virtio0`; else its node's. */
function diskName({ device, qdev = '' }: QmpBlock, node: QmpNode): string {
  const id = /^(?:\/machine\/peripheral\/)?([^/]+)(?:\/virtio-backend)?$/.exec(qdev)?.[1];
  if (id !== undefined) return id;
  return device === '' ? (node['node-name'] ?? basename(qdev)) : device;
}

function refusalOf(disk: {
  readonly name: string;
  readonly type: unknown;
  readonly isShared: boolean;
  readonly node: QmpNode;
}): string | undefined {
  if (PASS_THROUGH.has(String(disk.type))) {
    return 'it is passed through as a SCSI device, past QEMU: attach it as scsi-hd, or exclude it';
  }
  if (disk.isShared) {
    return 'it is shared with other VMs (share-rw), whose writes QEMU does not see: exclude it';
  }
  if (FILTERS.has(disk.node.drv) || disk.node['node-name'] === undefined) {
    return `QEMU does not say which image lies below it (${disk.node.drv}): exclude it`;
  }
  return undefined;
}

async function isUnshowable(
  qmp: QmpClient,
  { qomPath, refusal }: Pick<QemuDisk, 'qomPath' | 'refusal'>,
  qemu: QemuVersion,
): Promise<boolean> {
  if (refusal !== undefined || showsThreadedDisks(qemu)) return false;
  // Of the disk itself, or of the SCSI controller whose bus it is on.
  const bus = await readProperty(qmp, qomPath, 'parent_bus');
  const controller = typeof bus === 'string' ? [dirname(bus)] : [];
  const threads = await Promise.all(
    [qomPath, ...controller].map((path) => readProperty(qmp, path, 'iothread')),
  );
  return threads.some((thread) => typeof thread === 'string' && thread !== '');
}

/** Undefined where the object has no such property. */
export async function readProperty(
  qmp: QmpClient,
  path: string,
  property: string,
): Promise<unknown> {
  return await qmp.execute('qom-get', { path, property }).catch((error: unknown) => {
    if (qmp.isOpen) return undefined;
    throw error;
  });
}

/** Every device with its QOM path and type, whether it was given an id or not. */
export async function listDevices(
  qmp: QmpClient,
): Promise<readonly { readonly path: string; readonly name: string; readonly type: string }[]> {
  const lists = await Promise.all(
    CONTAINERS.map(async (container) => {
      const children = await qmp.execute('qom-list', { path: container });
      return children.flatMap(({ name, type }) => {
        const child = /^child<(.*)>$/.exec(type)?.[1];
        return child === undefined ? [] : [{ path: `${container}/${name}`, name, type: child }];
      });
    }),
  );
  return lists.flat();
}

/** Disks whose data goes past QEMU: they belong to the VM, and cannot be read here. */
async function disksOutside(qmp: QmpClient): Promise<QemuDisk[]> {
  const devices = await listDevices(qmp);
  return devices.flatMap(({ path, name, type }) => {
    if (!OUTSIDE_QEMU.test(type)) return [];
    const image = { filename: '', format: 'raw', 'virtual-size': 0 };
    return [
      {
        name,
        sizeBytes: 0,
        format: 'raw',
        location: type,
        refusal: `its data goes past QEMU (${type}): attach it as virtio-blk, or exclude it`,
        qomPath: path,
        rootNode: '',
        imageNode: '',
        bitmaps: [],
        node: { drv: type, file: '', ro: false, image },
        isUnshowable: false,
      },
    ];
  });
}
